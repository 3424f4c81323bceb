// Annotations and exemplars over a plot. Drawn by us, after Grafana's looks: its own are not in the
// library.
import { colorManipulator } from '@grafana/data';
import { UPlotConfigBuilder } from '@grafana/ui';
import { useLayoutEffect } from 'react';
import uPlot from 'uplot';
import { Annotation } from './annotations';

export interface Dot {
    time: number;
    /** Pixels of the canvas from its top, or nothing where it is out of the picture. */
    y: (plot: uPlot) => number | undefined;
    color: string;
}

interface Props {
    config: UPlotConfigBuilder;
    annotations: Annotation[];
    dots?: Dot[];
}

/** A child of a plot, so that its hooks are there before the plot is made. */
export function Marks({ config, annotations, dots = [] }: Props) {
    useLayoutEffect(() => {
        config.addHook('draw', (plot) => {
            plot.ctx.save();
            for (const annotation of annotations) drawAnnotation(plot, annotation);
            for (const dot of dots) drawDot(plot, dot);
            plot.ctx.restore();
        });
    }, [config]);
    return null;
}

function drawAnnotation(plot: uPlot, { from, to, color }: Annotation) {
    const { ctx, bbox } = plot;
    const [left, right, bottom] = [bbox.left, bbox.left + bbox.width, bbox.top + bbox.height];
    const unit = uPlot.pxRatio;
    const [x0, x1] = [from, to].map((time) => plot.valToPos(time, 'x', true));
    if (x1 < left || x0 > right) return;
    ctx.strokeStyle = color;
    ctx.lineWidth = 2;
    ctx.setLineDash([5, 5]);
    for (const x of new Set([x0, x1])) {
        if (x < left || x > right) continue;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bottom);
        ctx.stroke();
    }
    ctx.fillStyle = color;
    if (from === to) {
        ctx.beginPath();
        ctx.moveTo(x0, bottom);
        ctx.lineTo(x0 - 5 * unit, bottom + 5 * unit);
        ctx.lineTo(x0 + 5 * unit, bottom + 5 * unit);
        ctx.fill();
        return;
    }
    const start = Math.max(x0, left);
    const wide = Math.min(x1, right) - start;
    ctx.fillRect(start, bottom, wide, 5 * unit);
    ctx.fillStyle = colorManipulator.alpha(color, 0.1);
    ctx.fillRect(start, bbox.top, wide, bbox.height);
}

function drawDot(plot: uPlot, dot: Dot) {
    const y = dot.y(plot);
    const x = plot.valToPos(dot.time, 'x', true);
    const { ctx, bbox } = plot;
    if (y === undefined || x < bbox.left || x > bbox.left + bbox.width) return;
    const half = 3.5 * uPlot.pxRatio;
    ctx.fillStyle = colorManipulator.alpha(dot.color, 0.75);
    ctx.beginPath();
    ctx.moveTo(x, y - half);
    ctx.lineTo(x + half, y);
    ctx.lineTo(x, y + half);
    ctx.lineTo(x - half, y);
    ctx.fill();
}
