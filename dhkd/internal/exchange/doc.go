// Package exchange has the tests of exported files that need Python: ONNX files are run by ONNX Runtime and state dicts
// by PyTorch, and their logits compared with this module's.
//
// The environment variable DHKD_ONNX_PYTHON names a Python with the packages onnx, onnxruntime and safetensors, and
// DHKD_PYTORCH_PYTHON one with torch and safetensors; "scripts/test.sh onnx" and "scripts/test.sh pytorch" make them. Small networks stand for their families; -all takes all:
//
//	go test ./dhkd/internal/exchange -all
package exchange
