// onnxruntime-web under node: pixels by standard input, logits by standard output, as child.py says.
// Arguments: the folder that has node_modules, the artifact, the number of threads.

import fs from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

const IMAGE_BYTES = 28 * 28;
const MESSAGE = 0xffffffff;
const [STDIN, STDOUT, STDERR] = [0, 1, 2];

// What the parent reads is written by `answer` alone. The library prints with console, which asks for process.stdout, and its
// WebAssembly with fs.
const writeSync = fs.writeSync;
fs.writeSync = (descriptor, ...rest) => writeSync(descriptor === STDOUT ? STDERR : descriptor, ...rest);
syncBuiltinESMExports();
Object.defineProperty(process, 'stdout', { get: () => process.stderr });

/** Call a function of fs until the pipe is ready; a parent may have opened it so that it never blocks. */
function patiently(call) {
  for (;;) {
    try {
      return call();
    } catch (error) {
      if (error.code === 'EOF') return 0; // how Windows says it
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

function answer(bytes) {
  for (let done = 0; done < bytes.length; ) done += patiently(() => writeSync(STDOUT, bytes, done));
}

/** Return so many bytes, in however many pieces they come; null where the input ends before the first of them. */
function read(count) {
  const bytes = new Uint8Array(count);
  for (let done = 0; done < count; ) {
    const got = patiently(() => fs.readSync(STDIN, bytes, done, count - done));
    if (got === 0) {
      if (done === 0) return null;
      throw new Error(`the input ended after ${done} of ${count} bytes`);
    }
    done += got;
  }
  return bytes;
}

function numbers(...values) {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32LE(value, 4 * i));
  return bytes;
}

function line(about) {
  answer(Buffer.from(JSON.stringify(about) + '\n'));
}

const reason = (error) => String(error?.message ?? error).replace(/\s+/g, ' ').trim();

async function open(folder, file, threads) {
  const ort = createRequire(path.resolve(folder, 'any.js'))('onnxruntime-web');
  ort.env.wasm.numThreads = threads;
  const options = { executionProviders: ['wasm'], intraOpNumThreads: threads, interOpNumThreads: 1 };
  const session = await ort.InferenceSession.create(fs.readFileSync(file), options);
  return { ort, session };
}

async function run({ ort, session }, pixels, count) {
  const { logits } = await session.run({ pixels: new ort.Tensor('uint8', pixels, [count, 1, 28, 28]) }, ['logits']);
  const bytes = Buffer.alloc(4 * logits.data.length);
  logits.data.forEach((value, i) => bytes.writeFloatLE(value, 4 * i));
  return Buffer.concat([numbers(...logits.dims), bytes]);
}

const [folder, file, threads] = process.argv.slice(2);
let opened;
try {
  opened = await open(folder, file, Number(threads));
} catch (error) {
  line({ error: reason(error) });
  process.exit(1);
}
const { inputMetadata: inputs, outputMetadata: outputs } = opened.session;
line({ version: opened.ort.env.versions.web, node: process.versions.node, inputs, outputs });

for (let head; (head = read(4)) !== null; ) {
  const count = Buffer.from(head).readUInt32LE();
  const pixels = read(count * IMAGE_BYTES);
  if (pixels === null && count > 0) throw new Error('the input ended before the pixels');
  try {
    answer(await run(opened, pixels ?? new Uint8Array(0), count));
  } catch (error) {
    const message = Buffer.from(reason(error));
    answer(Buffer.concat([numbers(MESSAGE, message.length), message]));
  }
}
