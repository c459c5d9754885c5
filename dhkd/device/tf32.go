package device

import (
	"os"
	"strings"
)

// tf32Variable is NVIDIA's: "0" keeps its libraries, cuDNN's convolutions among them, from rounding float32 products to
// TF32. They read it when they are loaded.
const tf32Variable = "NVIDIA_TF32_OVERRIDE"

// withTF32 adds to go-xla's options whether a CUDA device rounds float32 products to TF32, which go-xla has it do unless
// told otherwise. What the user says in GOMLX_BACKEND goes first.
func withTF32(kind, options string, tf32 bool) string {
	if _, said := saysTF32(options); said || kind != "cuda" {
		return options
	}
	value := "tf32=false"
	if tf32 {
		value = "tf32=true"
	}
	return strings.Trim(options+","+value, ",")
}

// saysTF32 reads go-xla's options: "tf32", "notf32", "tf32=false".
func saysTF32(options string) (tf32, said bool) {
	for option := range strings.SplitSeq(options, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(option), "=")
		switch name {
		case "tf32":
			tf32, said = value != "false" && value != "0", true
		case "notf32":
			tf32, said = false, true
		}
	}
	return tf32, said
}

// setTF32 tells NVIDIA's libraries what the options say, unless the user has, before the plugin is loaded. It returns
// what they will do, and a function that takes that back.
func setTF32(kind, options string) (tf32 bool, undo func()) {
	if kind != "cuda" {
		return false, func() {}
	}
	tf32, _ = saysTF32(options)
	if value, set := os.LookupEnv(tf32Variable); set {
		return tf32 || value == "1", func() {}
	}
	if tf32 {
		return true, func() {}
	}
	os.Setenv(tf32Variable, "0")
	return false, func() { os.Unsetenv(tf32Variable) }
}
