// A picture of every dashboard, and a line about each panel that is empty or failed. See `shoot`.
import { execFile } from 'node:child_process';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openChromium } from './chromium.mjs';
import { boardNames, DASHBOARDS, serve } from './serve.mjs';

const WIDTH = 1600;
const PATIENCE_MS = 60_000;
const run = promisify(execFile);

const [prometheus, out, minutes] = process.argv.slice(2);
const dashboards = process.env.DASHBOARDS ?? DASHBOARDS;
const scale = Number(process.env.SCALE ?? 1);

async function evaluate(page, expression) {
    const { result } = await page('Runtime.evaluate', { expression, returnByValue: true });
    return result.value;
}

const size = (page, height) =>
    page('Emulation.setDeviceMetricsOverride', {
        width: WIDTH,
        height,
        deviceScaleFactor: scale,
        mobile: false,
    });

async function finished(page) {
    const end = Date.now() + PATIENCE_MS;
    while (Date.now() < end) {
        const preview = await evaluate(page, 'window.preview');
        if (preview?.failure) throw new Error(`the page failed: ${preview.failure}`);
        if (preview) return preview;
        await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`the page was not ready in ${PATIENCE_MS / 1000} s`);
}

/** Fewer colours, smaller file; nobody sees the difference on flat panels. */
async function squeeze(file) {
    await run('pngquant', [
        '--force',
        '--skip-if-larger',
        '--speed',
        '1',
        '--output',
        file,
        '256',
        file,
    ]).catch((error) => {
        if (error.code === 'ENOENT')
            console.error('pngquant is not installed: the files are larger than they need be');
        else if (error.code !== 98 && error.code !== 99) throw error;
    });
}

/**
 * Opens the page. Twice if need be: Chromium gives up what it is loading when a network interface
 * comes or goes, as with each container that starts on this machine.
 */
async function open(page, url) {
    try {
        await page('Page.navigate', { url });
        return await finished(page);
    } catch (error) {
        console.error(`${error.message}; once more`);
        await page('Page.navigate', { url });
        return finished(page);
    }
}

async function shoot(page, url, file) {
    await size(page, 3000);
    const { height, findings } = await open(page, url);
    await size(page, height);
    const { data } = await page('Page.captureScreenshot', { format: 'png' });
    await writeFile(file, Buffer.from(data, 'base64'));
    await squeeze(file);
    return { height, findings };
}

const names = await boardNames(dashboards).catch(() => []);
if (names.length === 0) {
    console.error(`no dashboards in ${dashboards}`);
    process.exit(2);
}
await mkdir(out, { recursive: true });
const server = await serve(prometheus, dashboards);
const chromium = await openChromium();
let faults = 0;
try {
    for (const name of names) {
        const address = new URLSearchParams({ board: name });
        if (minutes) address.set('minutes', minutes);
        if (process.env.OPEN) address.set('open', '1');
        const file = join(out, `${name}.png`);
        const { height, findings } = await shoot(
            await chromium.page(),
            `${server.url}/?${address}`,
            file,
        );
        const bad = findings.filter((f) => f.state !== 'ok');
        const kilobytes = Math.round((await stat(file)).size / 1000);
        const count = `${findings.length} panels, ${bad.length} without data`;
        console.log(`${file}: ${WIDTH}x${height}, ${kilobytes} kB, ${count}`);
        for (const { panel, state, message } of bad)
            console.log(`  ${state}: ${panel}${message ? `: ${message}` : ''}`);
        faults += bad.filter((f) => f.state === 'error').length;
    }
} catch (error) {
    console.error(error.message);
    faults += 1;
} finally {
    await chromium.close();
    server.close();
}
process.exit(faults > 0 ? 1 : 0);
