// Stat and bar gauge: Grafana's BigValue and BarGauge, laid out by its VizRepeater.
import {
    DisplayValueAlignmentFactors,
    FieldDisplay,
    getDisplayValueAlignmentFactors,
    getFieldDisplayValues,
} from '@grafana/data';
import {
    BarGauge,
    BarGaugeDisplayMode,
    BigValue,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueJustifyMode,
    BigValueTextMode,
    VizRepeater,
    VizRepeaterRenderValueProps,
} from '@grafana/ui';
import { VizOrientation } from '@grafana/data';
import { fieldConfigOf } from '../fields';
import { PanelProps } from './common';

type Repeated = VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>;

function valuesOf({ panel, data, page }: PanelProps, sparkline: boolean): FieldDisplay[] {
    return getFieldDisplayValues({
        fieldConfig: fieldConfigOf(panel),
        reduceOptions: { calcs: ['lastNotNull'], ...panel.options?.reduceOptions },
        replaceVariables: (text) => page.variables.inText(text),
        theme: page.theme,
        data: data.series,
        sparkline,
        timeZone: 'utc',
    });
}

export function StatPanel(props: PanelProps) {
    const { panel, page, range, data, width, height } = props;
    const options = panel.options ?? {};
    const graphMode: BigValueGraphMode = options.graphMode ?? BigValueGraphMode.Area;
    const one = ({ value, alignmentFactors, count, width, height }: Repeated) => (
        <BigValue
            value={value.display}
            count={count}
            sparkline={value.sparkline && { ...value.sparkline, timeRange: range }}
            colorMode={options.colorMode ?? BigValueColorMode.Value}
            graphMode={graphMode}
            justifyMode={options.justifyMode ?? BigValueJustifyMode.Auto}
            textMode={options.textMode ?? BigValueTextMode.Auto}
            percentChangeColorMode={options.percentChangeColorMode}
            disableWideLayout={options.wideLayout === false}
            text={options.text}
            alignmentFactors={alignmentFactors}
            width={width}
            height={height}
            theme={page.theme}
        />
    );
    return (
        <VizRepeater
            getValues={() => valuesOf(props, graphMode !== BigValueGraphMode.None)}
            getAlignmentFactors={getDisplayValueAlignmentFactors}
            renderValue={one}
            width={width}
            height={height}
            source={data}
            itemSpacing={3}
            renderCounter={0}
            autoGrid
            orientation={options.orientation ?? VizOrientation.Auto}
        />
    );
}

export function BarGaugePanel(props: PanelProps) {
    const { panel, page, data, width, height } = props;
    const options = panel.options ?? {};
    const one = ({ value, alignmentFactors, orientation, width, height }: Repeated) => (
        <BarGauge
            value={value.display}
            field={value.field}
            display={value.view?.getFieldDisplayProcessor(value.colIndex!) ?? undefined}
            text={options.text}
            orientation={orientation}
            alignmentFactors={alignmentFactors}
            displayMode={options.displayMode ?? BarGaugeDisplayMode.Gradient}
            showUnfilled={options.showUnfilled ?? true}
            valueDisplayMode={options.valueMode}
            namePlacement={options.namePlacement}
            width={width}
            height={height}
            itemSpacing={8}
            theme={page.theme}
        />
    );
    return (
        <VizRepeater
            getValues={() => valuesOf(props, false)}
            getAlignmentFactors={getDisplayValueAlignmentFactors}
            renderValue={one}
            width={width}
            height={height}
            source={data}
            renderCounter={0}
            minVizWidth={options.minVizWidth ?? 8}
            minVizHeight={options.minVizHeight ?? 16}
            orientation={options.orientation ?? VizOrientation.Auto}
        />
    );
}
