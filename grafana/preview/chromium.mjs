// Drives Chromium over its debugging pipe: no port, no library.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FLAGS = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--hide-scrollbars',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--disable-dev-shm-usage',
    '--font-render-hinting=none',
    '--remote-debugging-pipe',
];

export async function openChromium(program = process.env.CHROMIUM ?? 'chromium') {
    const profile = await mkdtemp(join(tmpdir(), 'preview-'));
    const child = spawn(program, [...FLAGS, `--user-data-dir=${profile}`], {
        stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    const waiting = new Map();
    let count = 0;
    let rest = '';

    const failed = new Promise((_, reject) => {
        child.on('error', (error) =>
            reject(new Error(`cannot start ${program}: ${error.message}`)),
        );
        child.on('exit', (code) => reject(new Error(`${program} ended with ${code}`)));
    });
    failed.catch(() => {});

    child.stdio[3].on('error', () => {});
    child.stdio[4].setEncoding('utf8').on('data', (chunk) => {
        const messages = (rest + chunk).split('\0');
        rest = messages.pop();
        for (const message of messages.map((m) => JSON.parse(m))) {
            const { resolve, reject } = waiting.get(message.id) ?? {};
            waiting.delete(message.id);
            if (message.error) reject?.(new Error(message.error.message));
            else resolve?.(message.result);
        }
    });

    const send = (method, params = {}, sessionId) => {
        const id = ++count;
        child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
        return Promise.race([
            failed,
            new Promise((resolve, reject) => waiting.set(id, { resolve, reject })),
        ]);
    };

    return {
        /** A page as a function: `await page('Page.navigate', { url })`. */
        async page() {
            const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
            const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
            return (method, params) => send(method, params, sessionId);
        },
        async close() {
            const ended = new Promise((resolve) => child.once('exit', resolve));
            send('Browser.close').catch(() => {});
            await ended;
            await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
        },
    };
}
