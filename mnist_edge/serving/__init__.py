"""The predictor over HTTP: the Open Inference Protocol, pictures, and what an operator needs. Also the files of a page, for `mnist-edge open`."""
