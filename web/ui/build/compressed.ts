// Writes FILE.br and FILE.gz beside each file that gets smaller by it, so that the server never compresses anything.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

/** Below this many bytes a second form is not worth its place in the program. */
const WORTH_BYTES = 512;
const TEXT = /\.(html|js|css|svg|json|txt)$/;

export function filesBelow(directory: string): string[] {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

export function compressed(): Plugin {
  let site = '';
  return {
    name: 'icecore-compressed',
    apply: 'build',
    configResolved: (config) => {
      site = join(config.root, config.build.outDir);
    },
    closeBundle: () => {
      for (const path of filesBelow(site).filter((path) => TEXT.test(path))) {
        const plain = readFileSync(path);
        if (plain.length < WORTH_BYTES) continue;
        const quality = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length };
        writeFileSync(`${path}.br`, brotliCompressSync(plain, { params: quality }));
        writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }));
      }
    },
  };
}
