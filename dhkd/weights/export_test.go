package weights

// For tests without files, which are slow to fuzz with.
var (
	LoadFrom         = load
	WriteSafetensors = writeSafetensors
)
