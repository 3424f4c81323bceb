// The parts of Grafana's dashboard JSON that the preview reads, and where each panel goes on the
// page.
import { DataFrame, DataTransformerConfig, FieldConfigSource } from '@grafana/data';

export interface Target {
    refId: string;
    expr: string;
    legendFormat?: string;
    format?: 'time_series' | 'table' | 'heatmap';
    instant?: boolean;
    range?: boolean;
    exemplar?: boolean;
    interval?: string;
    hide?: boolean;
}

export interface Panel {
    id: number;
    type: string;
    title: string;
    description?: string;
    gridPos: { x: number; y: number; w: number; h: number };
    targets?: Target[];
    fieldConfig?: FieldConfigSource;
    options?: any;
    transformations?: DataTransformerConfig[];
    transparent?: boolean;
    interval?: string;
    maxDataPoints?: number;
    timeFrom?: string;
    repeat?: string;
    repeatDirection?: 'h' | 'v';
    maxPerRow?: number;
    collapsed?: boolean;
    panels?: Panel[];
    /**
     * Set by the preview on copies of a repeated panel: the value of the variable it is repeated
     * for.
     */
    repeatValue?: { name: string; text: string; value: string };
}

export interface Variable {
    name: string;
    label?: string;
    type: 'datasource' | 'query' | 'custom' | 'constant' | 'interval' | 'textbox' | 'adhoc';
    query?: string | { query: string };
    definition?: string;
    regex?: string;
    sort?: number;
    multi?: boolean;
    includeAll?: boolean;
    allValue?: string | null;
    current?: { text: string | string[]; value: string | string[] };
    hide?: number;
}

export interface AnnotationQuery {
    name: string;
    enable: boolean;
    builtIn?: number;
    iconColor: string;
    expr?: string;
    target?: { expr?: string; interval?: string };
    step?: string;
    titleFormat?: string;
    textFormat?: string;
    useValueForTime?: boolean | string;
}

export interface Dashboard {
    uid: string;
    title: string;
    description?: string;
    tags?: string[];
    timezone?: string;
    time: { from: string; to: string };
    refresh?: string;
    links?: Array<{ title: string; type: string; asDropdown?: boolean }>;
    panels: Panel[];
    templating: { list: Variable[] };
    annotations: { list: AnnotationQuery[] };
}

/** What a panel got from its queries, after transformations and field overrides. */
export interface PanelData {
    series: DataFrame[];
    exemplars: Exemplar[];
    step: number;
}

export interface Exemplar {
    time: number;
    value: number;
    refId: string;
    labels: Record<string, string>;
}

export interface Box {
    left: number;
    top: number;
    width: number;
    height: number;
}

const CELL = 30;
const GAP = 8;

/** Grafana's grid: 24 columns, rows of 30 px, 8 px between panels. */
export function boxOf(panel: Panel, pageWidth: number): Box {
    const { x, y, w, h } = panel.gridPos;
    const column = (pageWidth - GAP * 23) / 24;
    return {
        left: Math.round(x * (column + GAP)),
        top: y * (CELL + GAP),
        width: Math.round(w * column + (w - 1) * GAP),
        height: h * CELL + (h - 1) * GAP,
    };
}

export function gridHeight(panels: Panel[]): number {
    return Math.max(0, ...panels.map((p) => p.gridPos.y + p.gridPos.h)) * (CELL + GAP);
}

/** The panels of collapsed rows put back in their places, what is below moved down. */
export function openRows(panels: Panel[]): Panel[] {
    const out: Panel[] = [];
    let shift = 0;
    for (const panel of panels) {
        const y = panel.gridPos.y + shift;
        out.push({ ...panel, collapsed: false, panels: [], gridPos: { ...panel.gridPos, y } });
        const inner = panel.collapsed ? (panel.panels ?? []) : [];
        if (inner.length === 0) continue;
        const first = Math.min(...inner.map((p) => p.gridPos.y));
        const end = Math.max(...inner.map((p) => p.gridPos.y + p.gridPos.h));
        for (const p of inner) {
            out.push({ ...p, gridPos: { ...p.gridPos, y: y + 1 + p.gridPos.y - first } });
        }
        shift += end - first;
    }
    return out;
}

/**
 * One copy of each repeated panel for each value of its variable, side by side or below each other.
 */
export function repeatPanels(
    panels: Panel[],
    valuesOf: (variable: string) => Array<{ text: string; value: string }>,
): Panel[] {
    const out: Panel[] = [];
    let shift = 0;
    for (const panel of panels) {
        const moved = { ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + shift } };
        const values = panel.repeat && panel.type !== 'row' ? valuesOf(panel.repeat) : [];
        if (values.length === 0) {
            out.push(moved);
            continue;
        }
        const { x, y, w, h } = moved.gridPos;
        const across =
            panel.repeatDirection === 'v' ? 1 : Math.min(values.length, panel.maxPerRow ?? 4);
        values.forEach((v, i) => {
            const gridPos =
                across === 1
                    ? { x, y: y + i * h, w, h }
                    : {
                          x: (i % across) * (24 / across),
                          y: y + Math.floor(i / across) * h,
                          w: 24 / across,
                          h,
                      };
            out.push({
                ...moved,
                gridPos,
                id: panel.id * 1000 + i,
                repeatValue: { name: panel.repeat!, ...v },
            });
        });
        shift += (Math.ceil(values.length / across) - 1) * h;
    }
    return out;
}
