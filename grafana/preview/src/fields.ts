// Field configuration, overrides and transformations: Grafana's own code, told what a panel of ours
// has.
import {
    applyFieldOverrides,
    cacheFieldDisplayNames,
    DataFrame,
    DataTransformerConfig,
    displayNameOverrideProcessor,
    FieldColorModeId,
    FieldConfigOptionsRegistry,
    FieldConfigPropertyItem,
    FieldConfigSource,
    GrafanaTheme2,
    identityOverrideProcessor,
    standardTransformers,
    standardTransformersRegistry,
    ThresholdsMode,
    transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';
import { Panel } from './dashboard';

standardTransformersRegistry.setInit(() => {
    const byId = new Map<string, any>(Object.values(standardTransformers).map((t) => [t.id, t]));
    byId.set('seriesToColumns', standardTransformers.joinByFieldTransformer);
    return [...byId].map(
        ([id, t]) => ({ id, name: t.name, transformation: () => Promise.resolve(t) }) as any,
    );
});

/** What Grafana's panels have where the dashboard is silent. */
const DEFAULTS: Record<string, Partial<FieldConfigSource['defaults']>> = {
    timeseries: {
        color: { mode: FieldColorModeId.PaletteClassic },
        custom: {
            drawStyle: 'line',
            lineInterpolation: 'linear',
            lineWidth: 1,
            fillOpacity: 0,
            gradientMode: 'none',
            showPoints: 'auto',
            pointSize: 5,
            spanNulls: false,
            barAlignment: 0,
            axisPlacement: 'auto',
            axisColorMode: 'text',
            stacking: { mode: 'none', group: 'A' },
            scaleDistribution: { type: 'linear' },
            thresholdsStyle: { mode: 'off' },
            hideFrom: { tooltip: false, viz: false, legend: false },
        },
    },
    'state-timeline': { custom: { fillOpacity: 70, lineWidth: 0 } },
    table: { custom: { align: 'auto', cellOptions: { type: 'auto' } } },
};

const STANDARD = [
    'unit',
    'decimals',
    'min',
    'max',
    'displayName',
    'noValue',
    'color',
    'thresholds',
    'mappings',
    'links',
    'description',
    'fieldMinMax',
];

/**
 * The dashboard's field configuration over Grafana's defaults, thresholds in the form the library
 * wants.
 */
export function fieldConfigOf(panel: Panel): FieldConfigSource {
    const source = structuredClone(panel.fieldConfig ?? { defaults: {}, overrides: [] });
    const basis = DEFAULTS[panel.type] ?? {};
    const defaults = {
        color: basis.color ?? { mode: FieldColorModeId.Thresholds },
        thresholds: {
            mode: ThresholdsMode.Absolute,
            steps: [
                { value: -Infinity, color: 'green' },
                { value: 80, color: 'red' },
            ],
        },
        ...source.defaults,
        custom: { ...basis.custom, ...source.defaults?.custom },
    };
    const overrides = source.overrides ?? [];
    const all = [
        defaults.thresholds,
        ...overrides.flatMap((o) => o.properties.map((p) => p.value)),
    ];
    for (const thresholds of all.filter((t) => Array.isArray(t?.steps))) {
        for (const step of thresholds.steps) step.value ??= -Infinity;
    }
    return { defaults, overrides };
}

/** A registry of the standard properties and of whatever custom ones this panel sets. */
function registryOf({ defaults, overrides }: FieldConfigSource): FieldConfigOptionsRegistry {
    const fromOverrides = overrides
        .flatMap((o) => o.properties.map((p) => p.id))
        .filter((id) => id.startsWith('custom.'));
    const custom = new Set([
        ...Object.keys(defaults.custom ?? {}),
        ...fromOverrides.map((id) => id.slice('custom.'.length)),
    ]);
    const item = (path: string, isCustom: boolean) =>
        ({
            id: isCustom ? `custom.${path}` : path,
            path,
            name: path,
            isCustom,
            process:
                path === 'displayName' ? displayNameOverrideProcessor : identityOverrideProcessor,
            shouldApply: () => true,
        }) as unknown as FieldConfigPropertyItem;
    const items = [
        ...STANDARD.map((p) => item(p, false)),
        ...[...custom].map((p) => item(p, true)),
    ];
    return new FieldConfigOptionsRegistry(() => items);
}

export async function transformed(
    frames: DataFrame[],
    configs: DataTransformerConfig[],
): Promise<DataFrame[]> {
    const unknown = configs.find(
        (c) => !c.disabled && !standardTransformersRegistry.getIfExists(c.id),
    );
    if (unknown) throw new Error(`transformation not in the library: ${unknown.id}`);
    return firstValueFrom(transformDataFrame(configs, frames));
}

export function withFieldConfig(
    frames: DataFrame[],
    fieldConfig: FieldConfigSource,
    theme: GrafanaTheme2,
    replaceVariables: (text: string) => string,
): DataFrame[] {
    const configured = applyFieldOverrides({
        data: frames,
        fieldConfig,
        fieldConfigRegistry: registryOf(fieldConfig),
        theme,
        timeZone: 'utc',
        replaceVariables,
    });
    // Colours by name and the heads of tables look for the names here.
    cacheFieldDisplayNames(configured);
    return configured;
}
