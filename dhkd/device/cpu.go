package device

import "context"

// CPUModel is the model of this machine's processor, or "" where it is not known.
func CPUModel(ctx context.Context) string { return cpuModel(ctx) }
