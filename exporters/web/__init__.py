"""A page that reads digits in the browser: the C of an ONNX file as WebAssembly, with a self-test, in a folder for any static server."""
