// One panel: Grafana's frame with title and description, and what belongs into it.
import { Icon, PanelChrome, Tooltip, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { FC } from 'react';
import { Annotation } from './annotations';
import { Box, Panel, PanelData } from './dashboard';
import { Page, rangeNote, rangeOf, scopeOf } from './data';
import { hasValues, PanelProps } from './panels/common';
import { HeatmapPanel } from './panels/heatmap';
import { BarGaugePanel, StatPanel } from './panels/stat';
import { StateTimelinePanel } from './panels/stateTimeline';
import { TablePanel } from './panels/table';
import { TextPanel } from './panels/text';
import { TimeSeriesPanel } from './panels/timeSeries';

const KINDS: Record<string, FC<PanelProps>> = {
    timeseries: TimeSeriesPanel,
    stat: StatPanel,
    bargauge: BarGaugePanel,
    table: TablePanel,
    text: TextPanel,
    heatmap: HeatmapPanel,
    'state-timeline': StateTimelinePanel,
};

/** Without padding in Grafana too: the colour of a stat fills its panel. */
const BARE = ['stat'];

export type Outcome = { data: PanelData } | { error: string };

export type Finding = { panel: string; state: 'ok' | 'empty' | 'error'; message?: string };

export function findingOf(panel: Panel, outcome: Outcome): Finding {
    const title = panel.title || `(${panel.type})`;
    if ('error' in outcome) return { panel: title, state: 'error', message: outcome.error };
    if (!KINDS[panel.type])
        return { panel: title, state: 'error', message: `panel type ${panel.type} is not drawn` };
    if (panel.type === 'text' || hasValues(outcome.data)) return { panel: title, state: 'ok' };
    return { panel: title, state: 'empty' };
}

interface Props {
    panel: Panel;
    box: Box;
    outcome: Outcome;
    page: Page;
    annotations: Annotation[];
}

export function PanelView({ panel, box, outcome, page, annotations }: Props) {
    const styles = useStyles2(getStyles);
    const title = page.variables.inText(panel.title ?? '', scopeOf(panel));
    const at = { position: 'absolute', ...box } as const;
    if (panel.type === 'row') {
        return (
            <div style={at} className={styles.row}>
                <Icon name={panel.collapsed ? 'angle-right' : 'angle-down'} />
                <span>{title}</span>
                {panel.collapsed && (
                    <span className={styles.count}>({panel.panels?.length ?? 0} panels)</span>
                )}
            </div>
        );
    }
    const finding = findingOf(panel, outcome);
    const Kind = KINDS[panel.type];
    const note = rangeNote(panel);
    return (
        <div style={at}>
            <PanelChrome
                title={title}
                description={panel.description}
                titleItems={
                    note && (
                        <Tooltip content={note}>
                            <span className={styles.note}>
                                <Icon name="clock-nine" size="sm" /> {note}
                            </span>
                        </Tooltip>
                    )
                }
                width={box.width}
                height={box.height}
                padding={BARE.includes(panel.type) ? 'none' : 'md'}
                displayMode={panel.transparent ? 'transparent' : 'default'}
            >
                {(width, height) => {
                    if (finding.state === 'error')
                        return <div className={styles.error}>{finding.message}</div>;
                    if (finding.state === 'empty') {
                        return (
                            <div className={styles.empty}>
                                {panel.fieldConfig?.defaults.noValue ?? 'No data'}
                            </div>
                        );
                    }
                    const data = (outcome as { data: PanelData }).data;
                    const props = {
                        panel,
                        data,
                        page,
                        annotations,
                        width,
                        height,
                        range: rangeOf(panel, page),
                    };
                    return <Kind {...props} />;
                }}
            </PanelChrome>
        </div>
    );
}

const getStyles = (theme: Page['theme']) => ({
    row: css({
        display: 'flex',
        alignItems: 'center',
        gap: theme.spacing(1),
        fontSize: theme.typography.h5.fontSize,
        fontWeight: theme.typography.fontWeightMedium,
        color: theme.colors.text.primary,
    }),
    count: css({
        color: theme.colors.text.secondary,
        fontWeight: theme.typography.fontWeightRegular,
    }),
    note: css({
        display: 'flex',
        alignItems: 'center',
        gap: 4,
        color: theme.colors.text.secondary,
        fontSize: 12,
    }),
    error: css({ color: theme.colors.error.text, overflow: 'hidden' }),
    empty: css({
        height: '100%',
        display: 'flex',
        alignItems: 'center',
        justifyContent: 'center',
        color: theme.colors.text.secondary,
        fontSize: theme.typography.h5.fontSize,
    }),
});
