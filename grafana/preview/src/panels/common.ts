// What every kind of panel is given.
import { FieldType, TimeRange } from '@grafana/data';
import { Annotation } from '../annotations';
import { Panel, PanelData } from '../dashboard';
import { Page } from '../data';

export interface PanelProps {
    panel: Panel;
    data: PanelData;
    page: Page;
    range: TimeRange;
    annotations: Annotation[];
    width: number;
    height: number;
}

/** Whether anything in it is a value: a panel of gaps only looks broken, so it counts as empty. */
export function hasValues({ series }: PanelData): boolean {
    return series.some((frame) =>
        frame.fields.some(
            (f) =>
                f.type !== FieldType.time && f.values.some((v) => v !== null && !Number.isNaN(v)),
        ),
    );
}
