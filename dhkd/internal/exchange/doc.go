// Package exchange has the tests of exported files that need Python: ONNX files are run by ONNX Runtime and state dicts
// by PyTorch, and their logits compared with this module's.
//
// The Python is the one that the environment variable DHKD_EXCHANGE_PYTHON names, with the packages onnx, onnxruntime,
// safetensors and torch; scripts/test.sh exchange makes one. Small networks stand for their families; -all takes all:
//
//	go test ./dhkd/internal/exchange -all
package exchange
