import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A server of a test's own. */
export interface Running {
  url: string;
  stop: () => Promise<void>;
}

/** Starts `netverdict server --demo` with further options, and waits until it answers. */
export async function serve(...options: string[]): Promise<Running> {
  const program = process.env.NETVERDICT ?? 'netverdict';
  const child = spawn(program, ['server', '--demo', '--listen', '127.0.0.1:0', ...options], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const said: string[] = [];
  for await (const line of createInterface(child.stderr)) {
    said.push(line);
    const url = /answering at (http:\/\/[^/]+)/.exec(line)?.[1];
    if (!url) continue;
    child.stderr.resume();
    await ready(url);
    return {
      url,
      stop: async () => {
        child.kill();
        await ended;
      },
    };
  }
  throw new Error(`${program} ended: ${said.join('\n')}`);
}

/** Waits until policies and sources are there. */
async function ready(url: string) {
  for (let tries = 0; tries < 300; tries++) {
    if ((await fetch(`${url}/readyz`)).ok) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${url} does not become ready`);
}
