#!/usr/bin/env node
// Serves the page, the dashboards, Grafana's icons and fonts, and Prometheus's API, together.
//   node serve.mjs PROMETHEUS_URL [DASHBOARDS_DIR [PORT]]
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
export const DASHBOARDS = join(HERE, '../dashboards');

const TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript',
    '.css': 'text/css',
    '.json': 'application/json',
    '.svg': 'image/svg+xml',
    '.woff2': 'font/woff2',
};

/** The first that fits: a prefix of the address, and the folder or file it stands for. */
const places = (dashboards) => [
    ['/boards/', dashboards],
    ['/public/build/img/', join(HERE, 'node_modules/@grafana/ui/dist/public/img')],
    ['/public/fonts/inter/', join(HERE, 'node_modules/inter-ui/web')],
    [
        '/public/fonts/roboto/',
        join(HERE, 'node_modules/@fontsource/roboto-mono/files/roboto-mono-latin-400-normal.woff2'),
    ],
    ['/', join(HERE, 'dist')],
];

function fileOf(path, dashboards) {
    const [prefix, place] = places(dashboards).find(([start]) => path.startsWith(start));
    if (extname(place)) return place;
    const rest = normalize(path.slice(prefix.length)) || 'index.html';
    return rest.startsWith('..') ? undefined : join(place, rest === '.' ? 'index.html' : rest);
}

export async function boardNames(dashboards = DASHBOARDS) {
    const files = await readdir(dashboards);
    return files
        .filter((f) => f.endsWith('.json'))
        .map((f) => f.slice(0, -'.json'.length))
        .sort();
}

/** Starts the server on this machine only, and gives its address. Port 0: any that is free. */
export function serve(prometheus, dashboards = DASHBOARDS, port = 0) {
    const server = createServer(async (request, response) => {
        const { pathname, search } = new URL(request.url, 'http://localhost');
        try {
            if (pathname.startsWith('/prometheus/')) {
                const target =
                    prometheus.replace(/\/$/, '') + pathname.slice('/prometheus'.length) + search;
                const answer = await fetch(target);
                response.writeHead(answer.status, { 'content-type': 'application/json' });
                response.end(Buffer.from(await answer.arrayBuffer()));
                return;
            }
            const file = fileOf(decodeURIComponent(pathname), dashboards);
            const body = await readFile(file);
            response.writeHead(200, {
                'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
            });
            response.end(body);
        } catch (error) {
            response.writeHead(pathname.startsWith('/prometheus/') ? 502 : 404, {
                'content-type': 'application/json',
            });
            response.end(
                JSON.stringify({
                    status: 'error',
                    error: String(error.cause?.message ?? error.message),
                }),
            );
        }
    });
    return new Promise((resolve, reject) => {
        server.on('error', reject);
        server.listen(port, '127.0.0.1', () => {
            resolve({
                url: `http://127.0.0.1:${server.address().port}`,
                close: () => server.close(),
            });
        });
    });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
    const [prometheus, dashboards, port] = process.argv.slice(2);
    if (!prometheus) {
        console.error('usage: node serve.mjs PROMETHEUS_URL [DASHBOARDS_DIR [PORT]]');
        process.exit(2);
    }
    const { url } = await serve(prometheus, dashboards, Number(port ?? 3001));
    for (const name of await boardNames(dashboards)) console.log(`${url}/?board=${name}`);
}
