// Opens a page's network from its folder and answers what the command line asks: "test" prints a word; a file of pixels prints the logits, base64.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [module, folder, images] = process.argv.slice(2);
const { Network, Refusal, sha256, slowSha256 } = await import(pathToFileURL(module));
const [about, wasm, golden] = ["model.json", "model.wasm", "golden.bin"].map((name) => readFileSync(join(folder, name)));
try {
  if (process.env.NO_WEBASSEMBLY) delete globalThis.WebAssembly;
  const network = await Network.open(JSON.parse(about), wasm, golden);
  if (images === "hash") {
    for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000]) console.log(slowSha256(wasm.subarray(0, length)), await sha256(wasm.subarray(0, length)));
  } else if (images) {
    const pixels = readFileSync(images);
    const count = pixels.length / 784;
    const logits = new Float32Array(count * network.classes);
    for (let i = 0; i < count; i++) logits.set(network.logits(pixels.subarray(784 * i, 784 * (i + 1))), network.classes * i);
    console.log(Buffer.from(logits.buffer).toString("base64"));
  } else console.log("passed");
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  console.log(error.message);
}
