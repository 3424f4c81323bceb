// The page: `?board=NAME&minutes=30&var-cluster=...&open=1` draws one dashboard, and says in
// `window.preview` when it is done and which panels were empty or failed.
import { createTheme, ThemeContext } from '@grafana/data';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { Annotation, loadAnnotations } from './annotations';
import { boxOf, Dashboard, gridHeight, openRows, Panel, repeatPanels } from './dashboard';
import { load, Page } from './data';
import { Footer, Header } from './header';
import { Finding, findingOf, Outcome, PanelView } from './panel';
import { scrapeInterval } from './prometheus';
import { lastMinutes, minutesOf } from './time';
import { Variables } from './variables';

declare global {
    interface Window {
        __grafana_public_path__?: string;
        preview?: { height: number; findings: Finding[] } | { failure: string };
    }
}

const MARGIN = 16;
const PADDING = 16;

const address = new URLSearchParams(location.search);
const pageWidth = document.documentElement.clientWidth - 2 * MARGIN;

async function fonts() {
    const file = (weight: string) => `url(/public/fonts/inter/Inter-${weight}.woff2)`;
    const faces = [
        new FontFace('Inter', file('Regular'), { weight: '400' }),
        new FontFace('Inter', file('Medium'), { weight: '500' }),
    ];
    for (const face of faces) document.fonts.add(await face.load());
}

async function openPage(): Promise<{ page: Page; minutes: number; panels: Panel[] }> {
    const dashboard: Dashboard = await (await fetch(`/boards/${address.get('board')}.json`)).json();
    const minutes = Number(address.get('minutes')) || minutesOf(dashboard.time.from);
    const scrape = await scrapeInterval();
    const range = lastMinutes(minutes, Math.floor(Date.now() / 1000) * 1000);
    const variables = await Variables.of(dashboard, range, address);
    const theme = createTheme({ colors: { mode: 'dark' } });
    const visible = address.get('open') ? openRows(dashboard.panels) : dashboard.panels;
    const panels = repeatPanels(visible, (name) =>
        variables.valuesOf(name).map((v) => ({ text: v, value: v })),
    );
    return { page: { dashboard, variables, range, scrape, theme }, minutes, panels };
}

async function outcomeOf(panel: Panel, page: Page): Promise<Outcome> {
    if (panel.type === 'row' || panel.type === 'text')
        return { data: { series: [], exemplars: [], step: 0 } };
    try {
        return { data: await load(panel, boxOf(panel, pageWidth).width - PADDING, page) };
    } catch (error) {
        return { error: String((error as Error).message ?? error) };
    }
}

function View(props: {
    page: Page;
    minutes: number;
    panels: Panel[];
    outcomes: Outcome[];
    annotations: Annotation[];
}) {
    const { page, minutes, panels, outcomes, annotations } = props;
    return (
        <ThemeContext.Provider value={page.theme}>
            <GlobalStyles />
            <PortalContainer />
            <div style={{ margin: `0 ${MARGIN}px` }}>
                <Header page={page} minutes={minutes} />
                <main style={{ position: 'relative', height: gridHeight(panels) }}>
                    {panels.map((panel, i) => (
                        <PanelView
                            key={panel.id}
                            panel={panel}
                            box={boxOf(panel, pageWidth)}
                            outcome={outcomes[i]}
                            page={page}
                            annotations={annotations}
                        />
                    ))}
                </main>
                <Footer />
            </div>
        </ThemeContext.Provider>
    );
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 1500));

async function main() {
    window.__grafana_public_path__ = '/public/';
    const [{ page, minutes, panels }] = await Promise.all([openPage(), fonts()]);
    const [outcomes, annotations] = await Promise.all([
        Promise.all(panels.map((p) => outcomeOf(p, page))),
        loadAnnotations(page),
    ]);
    const root = document.getElementById('root')!;
    createRoot(root).render(
        <View
            page={page}
            minutes={minutes}
            panels={panels}
            outcomes={outcomes}
            annotations={annotations}
        />,
    );
    await settled();
    const findings = panels
        .map((p, i) => findingOf(p, outcomes[i]))
        .filter((_, i) => panels[i].type !== 'row');
    window.preview = { height: root.scrollHeight, findings };
}

main().catch((error) => {
    window.preview = { failure: String(error?.message ?? error) };
    document.body.append(String(error?.stack ?? error));
});
