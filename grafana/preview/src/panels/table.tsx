// Table: Grafana's TableNG.
import { TableNG } from '@grafana/ui/unstable';
import { fieldConfigOf } from '../fields';
import { PanelProps } from './common';

export function TablePanel({ panel, data, range, width, height }: PanelProps) {
    const options = panel.options ?? {};
    const frame = data.series[options.frameIndex ?? 0] ?? data.series[0];
    return (
        <TableNG
            data={frame}
            width={width}
            height={height}
            noHeader={options.showHeader === false}
            sortBy={options.sortBy}
            cellHeight={options.cellHeight}
            timeRange={range}
            fieldConfig={fieldConfigOf(panel)}
            structureRev={1}
            enableVirtualization={false}
            disableKeyboardEvents
        />
    );
}
