// A real icecore-server on a free port of the loopback, with a repository and an agent of its own, all below one temporary directory.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** What has not happened after this time does not happen. */
export const PATIENCE_MS = 60_000;
const PASSPHRASE = 'correct horse';
/** A picture of one pixel. */
const DOT = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');

function program(variable, name) {
  const path = process.env[variable] ?? new URL(`../../target/debug/${name}`, import.meta.url).pathname;
  if (!existsSync(path)) throw new Error(`${path} is not there; run \`cargo xtask test --only browser\``);
  return path;
}

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}

/** The environment without anything of Icecore's own settings. */
function plainEnvironment(more) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('ICECORE_'));
  return { ...Object.fromEntries(kept), ...more };
}

export class Appliance {
  static async start() {
    const appliance = new Appliance();
    appliance.directory = mkdtempSync(join(tmpdir(), 'icecore-browser-'));
    appliance.port = await freePort();
    appliance.url = `http://127.0.0.1:${appliance.port}`;
    await appliance.startServer();
    return appliance;
  }

  path(name) {
    return join(this.directory, name);
  }

  serverEnvironment() {
    return plainEnvironment({
      ICECORE_SERVER_DATA_DIR: this.path('server'),
      ICECORE_SERVER_LISTEN: `127.0.0.1:${this.port}`,
      ICECORE_SERVER_TLS: 'off',
      ICECORE_SERVER_PASSWORD_MEMORY_KIB: '64',
      ICECORE_SERVER_STOP_WITHIN_S: '1',
      ICECORE_SERVER_LOG_FILTER: 'warn',
    });
  }

  async startServer() {
    const env = this.serverEnvironment();
    this.server = spawn(program('ICECORE_BIN_SERVER', 'icecore-server'), ['serve'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.server.stderr.pipe(createWriteStream(this.path('server.log'), { flags: 'a' }));
    for await (const line of createInterface(this.server.stdout)) {
      if (line.includes('/log-in#')) this.link = line.trim();
      if (line.startsWith('icecore-server listens on ')) return;
    }
    throw new Error(`the server did not start: ${readFileSync(this.path('server.log'))}`);
  }

  async stopServer() {
    this.server.kill('SIGTERM');
    await once(this.server, 'exit');
  }

  /** `icecore` beside the repository, with the passphrase. */
  async icecore(...args) {
    const env = plainEnvironment({
      ICECORE_REPO: this.path('repository'), ICECORE_PASSPHRASE: PASSPHRASE, ICECORE_INDEX_DIR: this.path('index'),
    });
    const { stdout } = await run(program('ICECORE_BIN', 'icecore'), ['--json', ...args], { env, cwd: this.directory });
    return stdout ? JSON.parse(stdout) : undefined;
  }

  machine(name) {
    return plainEnvironment({
      ICECORE_AGENT_DIR: this.path(`agent-${name}`), HOME: this.path(`agent-${name}`), ICECORE_INDEX_DIR: this.path(`index-${name}`),
      ICECORE_STATE_DIR: this.path(`state-${name}`), ICECORE_PATIENCE: '10',
    });
  }

  /** Runs the line that the page shows, on a machine that brings a writer key. */
  async enrol(line, name) {
    const [command, ...args] = line.trim().split(/\s+/);
    if (command !== 'icecore') throw new Error(`this is no line for a machine: ${line}`);
    const key = this.path(`${name}.key`);
    await this.icecore('key', 'writer-export', '--out', key, '--label', name);
    await run(program('ICECORE_BIN', 'icecore'), [...args, '--name', name, '--writer-key', key], { env: this.machine(name) });
  }

  /** Makes this machine's own agent the keeper of the repository, and runs it; it restores below `restores`. */
  async keep() {
    const { stdout } = await run(program('ICECORE_BIN_SERVER', 'icecore-server'), ['admin', 'enroll-keeper', 'main'], { env: this.serverEnvironment() });
    const [, ...args] = stdout.trim().split(/\s+/);
    const env = { ...this.machine('keeper'), ICECORE_PASSPHRASE: PASSPHRASE };
    await run(program('ICECORE_BIN', 'icecore'), args, { env });
    mkdirSync(this.path('restores'));
    this.runAgent('keeper', '--show-files', '--restore-to', this.path('restores'));
  }

  runAgent(name, ...more) {
    const agent = spawn(program('ICECORE_BIN', 'icecore'), ['agent', 'run', '--host', name, ...more], { env: this.machine(name), stdio: ['ignore', 'ignore', 'pipe'] });
    agent.stderr.pipe(createWriteStream(this.path(`${name}.log`), { flags: 'a' }));
    this.agents = [...(this.agents ?? []), agent];
  }

  /** A disk image with an ext4 file system, mostly of bytes that cannot be compressed. */
  async disk(name, mebibytes) {
    const directory = this.path(`${name}.files`);
    const noise = Buffer.alloc((mebibytes / 2) << 20);
    let state = 0x9e3779b9;
    for (let at = 0; at < noise.length; at += 4) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      noise.writeUInt32LE((state ^ (state >>> 13)) >>> 0, at);
    }
    const files = { 'etc/hostname': Buffer.from('iceberg.example\n'), 'dot.png': DOT, noise };
    mkdirSync(join(directory, 'etc'), { recursive: true });
    mkdirSync(join(directory, 'many'));
    for (const [path, content] of Object.entries(files)) writeFileSync(join(directory, path), content);
    for (let number = 0; number < 3000; number += 1) writeFileSync(join(directory, 'many', `file-${String(number).padStart(5, '0')}`), '');
    await this.tool('mkfs.ext4', '-q', '-N', '4096', '-d', directory, this.path(name), `${mebibytes}M`);
    rmSync(directory, { recursive: true });
    return { path: this.path(name), files, bytes: readFileSync(this.path(name)) };
  }

  /** Runs a program of the administrator. */
  async tool(name, ...args) {
    await run(name, args, { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } });
  }

  /** A request as an admin; `token` is set by the first run. */
  async api(method, path, body, headers = {}) {
    const answer = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  /** Waits until a job has succeeded; one that failed is no reason to wait. */
  async succeeded(id) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const { state } = await this.api('GET', `/api/v1/jobs/${id}`);
      if (state === 'succeeded') return;
      if (['failed', 'cancelled'].includes(state) || Date.now() > deadline) throw new Error(`job ${id} is ${state}`);
      await new Promise((wake) => setTimeout(wake, 50));
    }
  }

  async end() {
    for (const child of [...(this.agents ?? []), this.server]) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
