// A plot of Grafana's with a time axis and nothing in it yet: the ground of the panels that we draw
// ourselves.
import { GrafanaTheme2, TimeRange } from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation, VisibilityMode } from '@grafana/schema';
import { UPlotConfigBuilder } from '@grafana/ui';
import uPlot from 'uplot';

export interface Rows {
    /** The vertical scale runs from 0 to this. */
    count: number;
    /** Where labels stand on that scale, and what they say. */
    splits: (plot: uPlot) => number[];
    label: (split: number) => string;
}

export function emptyPlot(
    theme: GrafanaTheme2,
    range: TimeRange,
    rows: Rows,
    draw: (plot: uPlot) => void,
): UPlotConfigBuilder {
    const builder = new UPlotConfigBuilder('utc');
    const span = (): [number, number] => [range.from.valueOf(), range.to.valueOf()];
    builder.addScale({
        scaleKey: 'x',
        isTime: true,
        orientation: ScaleOrientation.Horizontal,
        direction: ScaleDirection.Right,
        range: span,
    });
    builder.addScale({
        scaleKey: 'y',
        isTime: false,
        orientation: ScaleOrientation.Vertical,
        direction: ScaleDirection.Up,
        range: () => [0, rows.count],
    });
    builder.addAxis({
        scaleKey: 'x',
        isTime: true,
        placement: AxisPlacement.Bottom,
        timeZone: 'utc',
        theme,
    });
    builder.addAxis({
        scaleKey: 'y',
        placement: AxisPlacement.Left,
        theme,
        grid: { show: false },
        ticks: { show: false },
        splits: rows.splits,
        values: (_, splits) => splits.map(rows.label),
    });
    builder.addSeries({
        scaleKey: 'y',
        theme,
        pathBuilder: () => null,
        pointsBuilder: () => undefined,
        showPoints: VisibilityMode.Never,
        show: true,
    });
    builder.addHook('draw', (plot) => {
        const { ctx, bbox } = plot;
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
        ctx.clip();
        draw(plot);
        ctx.restore();
    });
    return builder;
}

/** Values for such a plot: it needs some, and draws none of them. */
export const noValues = (range: TimeRange): uPlot.AlignedData => [
    [range.from.valueOf(), range.to.valueOf()],
    [0, 0],
];
