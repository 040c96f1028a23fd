// Reads pictures from a file, each as width, height and ink (3 little-endian numbers of 32 bits) and RGBA; prints what prepare() makes of each, a line each.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [module, pictures] = process.argv.slice(2);
const { prepare, PictureError } = await import(pathToFileURL(module));
const bytes = readFileSync(pictures);
for (let at = 0; at < bytes.length; ) {
  const [width, height, ink] = [0, 4, 8].map((i) => bytes.readUInt32LE(at + i));
  const data = new Uint8ClampedArray(bytes.subarray(at + 12, at + 12 + 4 * width * height));
  at += 12 + data.length;
  let found;
  try {
    found = prepare({ width, height, data }, ["auto", "dark", "light"][ink]);
    found.pixels = Array.from(found.pixels);
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    found = { refused: error.message };
  }
  console.log(JSON.stringify(found));
}
