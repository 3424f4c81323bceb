// State timeline. Grafana's own is not in the library: drawn by us on its plot, with its colours
// and value mappings.
import {
    colorManipulator,
    DisplayValue,
    Field,
    FieldType,
    formattedValueToString,
    GrafanaTheme2,
    getFieldDisplayName,
} from '@grafana/data';
import { LegendDisplayMode } from '@grafana/schema';
import { UPlotChart, VizLayout, VizLegend, VizLegendItem } from '@grafana/ui';
import { useMemo } from 'react';
import uPlot from 'uplot';
import { PanelData } from '../dashboard';
import { Marks } from '../marks';
import { emptyPlot, noValues } from '../plot';
import { PanelProps } from './common';

interface Stretch {
    from: number;
    to: number;
    shown: DisplayValue;
}

interface Row {
    name: string;
    field: Field;
    stretches: Stretch[];
}

function rowsOf({ series, step }: PanelData, end: number, merge: boolean): Row[] {
    return series.flatMap((frame) => {
        const times: number[] = frame.fields.find((f) => f.type === FieldType.time)?.values ?? [];
        return frame.fields
            .filter((f) => f.type !== FieldType.time)
            .map((field) => {
                const stretches: Stretch[] = [];
                let before: unknown;
                times.forEach((from, i) => {
                    const value = field.values[i];
                    if (value === null || value === undefined) return;
                    const next = times[i + 1] ?? end;
                    const to = next - from > 1.5 * step ? from + step : next;
                    const last = stretches.at(-1);
                    if (merge && last && last.to === from && value === before) last.to = to;
                    else stretches.push({ from, to, shown: field.display!(value) });
                    before = value;
                });
                return { name: getFieldDisplayName(field, frame, series), field, stretches };
            });
    });
}

/** The states that occur, or the steps of the thresholds where values are not mapped to words. */
function legendOf(rows: Row[]): VizLegendItem[] {
    const mapped = rows.some(
        (r) => (r.field.config.mappings?.length ?? 0) > 0 || r.field.type === FieldType.string,
    );
    const items = new Map<string, string>();
    if (mapped) {
        const shown = rows
            .flatMap((r) => r.stretches.map((s) => s.shown))
            .sort((a, b) => a.numeric - b.numeric);
        for (const s of shown) items.set(formattedValueToString(s), s.color ?? 'grey');
    } else {
        const field = rows[0]?.field;
        const steps = field?.config.thresholds?.steps ?? [];
        steps.forEach(({ value, color }, i) => {
            const label =
                i > 0
                    ? `${formattedValueToString(field!.display!(value))}+`
                    : steps.length > 1
                      ? `< ${formattedValueToString(field!.display!(steps[1].value))}`
                      : '';
            if (label) items.set(label, color);
        });
    }
    return [...items].map(([label, color]) => ({ label, color, yAxis: 1 }));
}

export function StateTimelinePanel({
    panel,
    data,
    page,
    range,
    annotations,
    width,
    height,
}: PanelProps) {
    const options = panel.options ?? {};
    const { theme } = page;
    const { config, legend } = useMemo(() => {
        const rows = rowsOf(data, range.to.valueOf(), options.mergeValues !== false);
        const centre = (row: number) => rows.length - row - 0.5;
        const axis = {
            count: rows.length,
            splits: () => rows.map((_, i) => centre(i)),
            label: (split: number) => rows[Math.round(rows.length - split - 0.5)]?.name ?? '',
        };
        const draw = (plot: uPlot) => {
            const lane = plot.bbox.height / Math.max(rows.length, 1);
            const tall = lane * (options.rowHeight ?? 0.9);
            rows.forEach((row, i) => {
                const top = plot.valToPos(centre(i), 'y', true) - tall / 2;
                const looks = { theme, options, custom: row.field.config.custom };
                for (const stretch of row.stretches)
                    drawStretch(plot, stretch, { top, tall }, looks);
            });
        };
        return { config: emptyPlot(theme, range, axis, draw), legend: legendOf(rows) };
    }, [data]);
    const shown = options.legend?.showLegend !== false && legend.length > 0;
    return (
        <VizLayout
            width={width}
            height={height}
            legend={
                shown ? (
                    <VizLayout.Legend placement={options.legend?.placement ?? 'bottom'}>
                        <VizLegend
                            placement={options.legend?.placement ?? 'bottom'}
                            displayMode={LegendDisplayMode.List}
                            items={legend}
                            readonly
                        />
                    </VizLayout.Legend>
                ) : null
            }
        >
            {(w: number, h: number) => (
                <UPlotChart config={config} data={noValues(range)} width={w} height={h}>
                    <Marks config={config} annotations={annotations} />
                </UPlotChart>
            )}
        </VizLayout>
    );
}

interface Looks {
    theme: GrafanaTheme2;
    options: any;
    /** The field's own settings. */
    custom: any;
}

function drawStretch(
    plot: uPlot,
    stretch: Stretch,
    lane: { top: number; tall: number },
    looks: Looks,
) {
    const { ctx } = plot;
    const { from, to, shown } = stretch;
    const { top, tall } = lane;
    const { theme, options } = looks;
    const { fillOpacity = 70, lineWidth = 0 } = looks.custom ?? {};
    const left = Math.max(plot.bbox.left, Math.round(plot.valToPos(from, 'x', true)));
    const wide = Math.max(1, Math.round(plot.valToPos(to, 'x', true)) - left);
    const fill = colorManipulator.alpha(
        shown.color ?? theme.colors.text.disabled,
        fillOpacity / 100,
    );
    ctx.fillStyle = fill;
    ctx.fillRect(left, top, wide, tall);
    const line = lineWidth * uPlot.pxRatio;
    if (line > 0) {
        ctx.strokeStyle = shown.color ?? theme.colors.text.disabled;
        ctx.lineWidth = line;
        ctx.strokeRect(left + line / 2, top + line / 2, wide - line, tall - line);
    }
    if (options.showValue === 'never') return;
    const text = formattedValueToString(shown);
    ctx.font = `500 ${Math.round(12 * uPlot.pxRatio)}px ${theme.typography.fontFamily}`;
    if (options.showValue !== 'always' && ctx.measureText(text).width + 8 * uPlot.pxRatio > wide)
        return;
    const align: 'left' | 'center' | 'right' = options.alignValue ?? 'left';
    const pad = line + 4 * uPlot.pxRatio;
    ctx.textAlign = align;
    ctx.textBaseline = 'middle';
    ctx.fillStyle = theme.colors.getContrastText(fill, 3);
    const x =
        align === 'left' ? left + pad : align === 'right' ? left + wide - pad : left + wide / 2;
    ctx.fillText(text, x, top + tall / 2);
}
