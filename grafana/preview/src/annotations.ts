// Annotation queries: moments and stretches of time, drawn over every panel with a time axis.
import { rangeUtil, renderLegendFormat } from '@grafana/data';
import { AnnotationQuery } from './dashboard';
import { Page } from './data';
import { queryRange } from './prometheus';

export interface Annotation {
    title: string;
    color: string;
    from: number;
    /** Equal to `from` for a moment. */
    to: number;
}

export async function loadAnnotations(page: Page): Promise<Annotation[]> {
    const queries = (page.dashboard.annotations?.list ?? []).filter((a) => a.enable && !a.builtIn);
    const found = await Promise.all(queries.map((q) => ask(q, page)));
    return found.flat();
}

async function ask(query: AnnotationQuery, page: Page): Promise<Annotation[]> {
    const expr = query.expr ?? query.target?.expr;
    if (!expr) return [];
    const step = Math.max(
        rangeUtil.intervalToMs(query.step || query.target?.interval || '60s'),
        1000,
    );
    const [from, to] = [page.range.from.valueOf(), page.range.to.valueOf()];
    const color = page.theme.visualization.getColorByName(query.iconColor);
    const out: Annotation[] = [];
    for (const { metric, values } of await queryRange(
        page.variables.inQuery(expr),
        from,
        to,
        step,
    )) {
        const title = renderLegendFormat(query.titleFormat ?? '', metric);
        const times = values
            .filter(([, value]) => Number(value) > 0)
            .map(([time, value]) =>
                query.useValueForTime ? Math.floor(Number(value)) : time * 1000,
            );
        let last: Annotation | undefined;
        for (const time of times) {
            if (last && time - last.to <= step) last.to = time;
            else out.push((last = { title, color, from: time, to: time }));
        }
    }
    return out.filter((a) => a.to >= from && a.from <= to);
}
