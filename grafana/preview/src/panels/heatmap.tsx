// Heatmap of a Prometheus histogram. Grafana's own is not in the library: drawn by us on its plot,
// with the same colour schemes.
import {
    DataFrame,
    Field,
    formattedValueToString,
    getValueFormat,
    GrafanaTheme2,
} from '@grafana/data';
import { UPlotChart } from '@grafana/ui';
import * as schemes from 'd3-scale-chromatic';
import { useMemo } from 'react';
import uPlot from 'uplot';
import { Exemplar } from '../dashboard';
import { Dot, Marks } from '../marks';
import { emptyPlot, noValues } from '../plot';
import { PanelProps } from './common';

const LEGEND_HEIGHT = 28;
const DIVERGING = [
    'BrBG',
    'PRGn',
    'PiYG',
    'PuOr',
    'RdBu',
    'RdGy',
    'RdYlBu',
    'RdYlGn',
    'Spectral',
    'Rainbow',
    'Sinebow',
];
const LIGHT_AT_THE_TOP = [
    'Turbo',
    'Cividis',
    'Viridis',
    'Magma',
    'Inferno',
    'Plasma',
    'Warm',
    'Cool',
    'Cubehelix',
];

interface Colors {
    min: number;
    max: number;
    palette: string[];
}

/**
 * Diverging schemes are turned round, and sequential ones so that much is bright on a dark page.
 */
function paletteOf(color: any, theme: GrafanaTheme2): string[] {
    const steps = Math.max(color.steps ?? 64, 2);
    const parts = Array.from({ length: steps }, (_, i) => i / (steps - 1));
    if (color.mode === 'opacity') {
        const fill = theme.visualization.getColorByName(color.fill ?? 'dark-orange');
        const power = color.scale === 'linear' ? 1 : (color.exponent ?? 0.5);
        return parts.map((t) => `color-mix(in srgb, ${fill} ${100 * t ** power}%, transparent)`);
    }
    const name: string = color.scheme ?? 'Spectral';
    const full = name === 'Cubehelix' ? 'CubehelixDefault' : name;
    const interpolate = (schemes as any)[`interpolate${full}`] ?? schemes.interpolateSpectral;
    const palette = parts.map((t) => interpolate(t) as string);
    const turned = DIVERGING.includes(name) || !LIGHT_AT_THE_TOP.includes(name);
    return color.reverse || turned ? palette.reverse() : palette;
}

function colorsOf(rows: Field[], color: any, theme: GrafanaTheme2): Colors {
    let [min, max] = [Infinity, -Infinity];
    for (const row of rows) {
        for (const v of row.values) {
            if (v === null || !(v > 0)) continue;
            min = Math.min(min, v);
            max = Math.max(max, v);
        }
    }
    const palette = paletteOf(color, theme);
    return { min: color.min ?? Math.min(min, max), max: color.max ?? Math.max(min, max), palette };
}

function drawCells(
    plot: uPlot,
    frame: DataFrame,
    { min, max, palette }: Colors,
    step: number,
    options: any,
) {
    const [time, ...rows] = frame.fields;
    const gap = Math.round((options.cellGap ?? 1) * uPlot.pxRatio);
    const least = options.filterValues?.le ?? 1e-9;
    rows.forEach((row, i) => {
        const bottom = Math.round(plot.valToPos(i, 'y', true));
        const top = Math.round(plot.valToPos(i + 1, 'y', true));
        row.values.forEach((value: number | null, column) => {
            if (value === null || value <= least) return;
            const left = Math.round(plot.valToPos(time.values[column] - step, 'x', true));
            const right = Math.round(plot.valToPos(time.values[column], 'x', true));
            const share = max > min ? (value - min) / (max - min) : 1;
            plot.ctx.fillStyle =
                palette[Math.round(Math.min(Math.max(share, 0), 1) * (palette.length - 1))];
            plot.ctx.fillRect(
                left,
                top,
                Math.max(right - left - gap, 1),
                Math.max(bottom - top - gap, 1),
            );
        });
    });
}

/** Every bucket's upper bound, or every second, fourth, ... where there is no room. */
function bounds(count: number) {
    return (plot: uPlot): number[] => {
        const room = plot.bbox.height / uPlot.pxRatio;
        let every = 1;
        while ((room * every) / count < 13) every *= 2;
        return Array.from(
            { length: Math.floor(count / every) },
            (_, i) => count - i * every,
        ).reverse();
    };
}

/** An exemplar stands in its bucket, higher the nearer it is to the bucket's upper bound. */
function dotsOf(exemplars: Exemplar[], rows: Field[], color: string): Dot[] {
    const uppers = rows.map((r) => (r.name === '+Inf' ? Infinity : Number(r.name)));
    return exemplars.map(({ time, value }) => {
        const row = uppers.findIndex((upper) => value <= upper);
        const lower = row > 0 ? uppers[row - 1] : 0;
        const part = Number.isFinite(uppers[row]) ? (value - lower) / (uppers[row] - lower) : 0.5;
        return {
            time,
            color,
            y: (plot) => (row < 0 ? undefined : plot.valToPos(row + part, 'y', true)),
        };
    });
}

export function HeatmapPanel({ panel, data, page, range, annotations, width, height }: PanelProps) {
    const options = panel.options ?? {};
    const { theme } = page;
    const frame = data.series[0];
    const { config, colors, dots } = useMemo(() => {
        const rows = frame.fields.slice(1);
        const colors = colorsOf(rows, options.color ?? {}, theme);
        const format = getValueFormat(options.yAxis?.unit ?? 'short');
        const label = (split: number) => {
            const name = rows[split - 1]?.name;
            if (name === undefined || name === '+Inf') return name ?? '';
            return formattedValueToString(format(Number(name), options.yAxis?.decimals));
        };
        const axis = { count: rows.length, splits: bounds(rows.length), label };
        const config = emptyPlot(theme, range, axis, (plot) =>
            drawCells(plot, frame, colors, data.step, options),
        );
        const color = options.exemplars?.color ?? 'rgba(255,0,255,0.7)';
        return { config, colors, dots: dotsOf(data.exemplars, rows, color) };
    }, [data]);
    const legend = options.legend?.show !== false;
    return (
        <>
            <UPlotChart
                config={config}
                data={noValues(range)}
                width={width}
                height={height - (legend ? LEGEND_HEIGHT : 0)}
            >
                <Marks config={config} annotations={annotations} dots={dots} />
            </UPlotChart>
            {legend && (
                <Scale
                    colors={colors}
                    format={getValueFormat(options.cellValues?.unit ?? 'short')}
                />
            )}
        </>
    );
}

function Scale({ colors, format }: { colors: Colors; format: ReturnType<typeof getValueFormat> }) {
    const text = (v: number) => (Number.isFinite(v) ? formattedValueToString(format(v)) : '');
    const gradient = `linear-gradient(90deg, ${colors.palette.join(', ')})`;
    return (
        <div style={{ width: 260, maxWidth: '100%', paddingLeft: 8, fontSize: 12 }}>
            <div style={{ height: 8, background: gradient }} />
            <div style={{ display: 'flex', justifyContent: 'space-between' }}>
                <span>{text(colors.min)}</span>
                <span>{text(colors.max)}</span>
            </div>
        </div>
    );
}
