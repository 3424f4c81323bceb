// Variables of a dashboard: their values, and their names replaced in queries, legends and titles.
import { escapeStringForRegex, stringToJsRegex, TimeRange } from '@grafana/data';
import { Dashboard, Variable } from './dashboard';
import { labelValues, queryInstant, series } from './prometheus';

const ALL = '$__all';

export interface Resolved {
    name: string;
    label: string;
    hidden: boolean;
    multi: boolean;
    all: boolean;
    allValue?: string;
    options: string[];
    values: string[];
}

/**
 * Values that replace a variable of the same name: `$__interval` and the like, or a repeated
 * panel's.
 */
export type Scope = Record<string, string>;

export class Variables {
    readonly list: Resolved[] = [];

    /**
     * Resolves the variables in their order, as later ones use earlier ones. `chosen` comes from
     * the page's address.
     */
    static async of(
        dashboard: Dashboard,
        range: TimeRange,
        chosen: URLSearchParams,
    ): Promise<Variables> {
        const variables = new Variables();
        for (const variable of dashboard.templating?.list ?? []) {
            const options = await variables.optionsOf(variable, range);
            variables.list.push(resolve(variable, options, chosen.getAll(`var-${variable.name}`)));
        }
        return variables;
    }

    valuesOf(name: string): string[] {
        return this.list.find((v) => v.name === name)?.values ?? [];
    }

    /**
     * Replaces `$name`, `${name}`, `${name:format}` and `[[name]]` as the Prometheus data source
     * does.
     */
    inQuery(text: string, scope: Scope = {}): string {
        return this.replace(text, scope, forQuery);
    }

    inText(text: string, scope: Scope = {}): string {
        return this.replace(text, scope, (v) => (v.all ? 'All' : v.values.join(' + ')));
    }

    private replace(text: string, scope: Scope, render: (v: Resolved) => string): string {
        return text.replace(
            /\$(\w+)|\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)\]\]/g,
            (whole, a, b, format, c) => {
                const name = a ?? b ?? c;
                if (name in scope) return scope[name];
                const variable = this.list.find((v) => v.name === name);
                if (!variable) return whole;
                return format ? formatted(variable, format) : render(variable);
            },
        );
    }

    private async optionsOf(variable: Variable, range: TimeRange): Promise<string[]> {
        const text =
            typeof variable.query === 'string'
                ? variable.query
                : (variable.query?.query ?? variable.definition ?? '');
        switch (variable.type) {
            case 'datasource':
                return ['Prometheus'];
            case 'query':
                return filtered(await this.ask(text, range), variable);
            case 'custom':
            case 'interval':
                return text.split(',').map((s) => s.trim());
            case 'constant':
            case 'textbox':
                return [text];
            default:
                return [];
        }
    }

    private async ask(query: string, range: TimeRange): Promise<string[]> {
        const text = this.inQuery(query.trim());
        const from = range.from.valueOf();
        const to = range.to.valueOf();
        const ofSeries = /^label_values\((.+),\s*(\w+)\s*\)$/s.exec(text);
        if (ofSeries) {
            const found = await series(ofSeries[1], from, to);
            return [...new Set(found.map((s) => s[ofSeries[2]]).filter(Boolean))];
        }
        const ofLabel = /^label_values\(\s*(\w+)\s*\)$/.exec(text);
        if (ofLabel) return labelValues(ofLabel[1], from, to);
        const ofQuery = /^query_result\((.+)\)$/s.exec(text);
        if (ofQuery) {
            const found = await queryInstant(ofQuery[1], to);
            return found.map(({ metric, values }) => {
                const { __name__: name = '', ...labels } = metric;
                const inner = Object.entries(labels).map(([k, v]) => `${k}="${v}"`);
                return `${name}{${inner.join(',')}} ${values[0][1]} ${values[0][0] * 1000}`;
            });
        }
        throw new Error(`variable query not understood: ${query}`);
    }
}

function filtered(values: string[], { regex, sort }: Variable): string[] {
    let out = values;
    if (regex) {
        const pattern = stringToJsRegex(regex);
        out = out.flatMap((value) => {
            const found = pattern.exec(value);
            pattern.lastIndex = 0;
            return found ? [found[1] ?? found[0]] : [];
        });
    }
    const sorted = [...new Set(out)];
    const kind = Math.ceil((sort ?? 0) / 2);
    if (kind === 2) sorted.sort((a, b) => parseFloat(a) - parseFloat(b));
    else if (kind !== 0) sorted.sort((a, b) => a.localeCompare(b, 'en', { numeric: kind === 4 }));
    return (sort ?? 0) > 0 && (sort ?? 0) % 2 === 0 ? sorted.reverse() : sorted;
}

function resolve(variable: Variable, options: string[], chosen: string[]): Resolved {
    const current = [variable.current?.value ?? []].flat().filter((v) => v !== '');
    let values = chosen.length > 0 ? chosen : current;
    const all =
        variable.includeAll === true &&
        (values.length === 0 || values.includes(ALL) || values.includes('All'));
    if (all) values = options;
    else if (variable.type === 'datasource') values = options;
    else if (values.length === 0 || (variable.type === 'query' && chosen.length === 0)) {
        values = values.filter((v) => options.includes(v));
        if (values.length === 0) values = options.slice(0, 1);
    }
    return {
        name: variable.name,
        label: variable.label || variable.name,
        hidden: variable.hide === 2,
        multi: variable.multi === true || variable.includeAll === true,
        all,
        allValue: variable.allValue ?? undefined,
        options,
        values,
    };
}

function forQuery(v: Resolved): string {
    if (v.all && v.allValue !== undefined) return v.allValue;
    if (!v.multi) return (v.values[0] ?? '').replace(/\\/g, '\\\\').replace(/'/g, "\\\\'");
    const escaped = v.values.map((s) => escapeStringForRegex(s).replace(/\\/g, '\\\\'));
    return escaped.length === 1 ? escaped[0] : `(${escaped.join('|')})`;
}

function formatted(v: Resolved, format: string): string {
    if (v.all && v.allValue !== undefined) return v.allValue;
    switch (format) {
        case 'regex': {
            const escaped = v.values.map(escapeStringForRegex);
            return escaped.length === 1 ? escaped[0] : `(${escaped.join('|')})`;
        }
        case 'pipe':
            return v.values.join('|');
        case 'text':
            return v.all ? 'All' : v.values.join(' + ');
        default:
            return v.values.join(',');
    }
}
