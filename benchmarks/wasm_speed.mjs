// Prints the median of the microseconds that a module of format web takes for an image: node wasm_speed.mjs model.wasm image (784 bytes)
import fs from "node:fs";

const [module, image] = process.argv.slice(2);
const { exports } = (await WebAssembly.instantiate(fs.readFileSync(module))).instance;
new Uint8Array(exports.memory.buffer, exports.pixels(), 784).set(fs.readFileSync(image));
const calls = 500;
const times = [];
for (let block = 0; block < 40; block++) {
  const start = process.hrtime.bigint();
  for (let i = 0; i < calls; i++) exports.run();
  times.push(Number(process.hrtime.bigint() - start) / calls / 1000);
}
times.splice(0, 10); // while it is still being compiled
console.log(times.sort((a, b) => a - b)[times.length >> 1]);
