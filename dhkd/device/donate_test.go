package device

import (
	"testing"
)

func TestMarkDonors(t *testing.T) {
	before := donors.Load()
	defer donors.Store(before)
	const code = "module @m {\n  func.func @main(%arg0: tensor<4xf32>, %_own_w: tensor<128x128xf32>, %_own_small: tensor<128x127xf32>, %_own2_w: tensor<f32>, " +
		"%_owned: tensor<f32>) -> (tensor<f32>) {\n    %0 = add %_own_w: tensor<f32>\n}"
	donors.Store(nil)
	if got := markDonors([]byte(code)); got != nil {
		t.Errorf("without scopes: %s", got)
	}
	DonateVariables("arg0")
	scopes := []string{"o.her", "own"}
	if DonateVariables(scopes...); scopes[0] != "o.her" {
		t.Errorf("the caller's scopes became %q", scopes)
	}
	const want = "module @m {\n  func.func @main(%arg0: tensor<4xf32>, %_own_w: tensor<128x128xf32> {jax.buffer_donor = true}, %_own_small: tensor<128x127xf32>, " +
		"%_own2_w: tensor<f32>, %_owned: tensor<f32>) -> (tensor<f32>) {\n    %0 = add %_own_w: tensor<f32>\n}"
	if got := string(markDonors([]byte(code))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	const sharding = "sdy.sharding = #sdy.sharding<@mesh, [{}]> }, %x: tensor<f32>)\n"
	const sharded = "func.func @main(%_own_w: tensor<20000xf32> { " + sharding
	const marked = "func.func @main(%_own_w: tensor<20000xf32> { jax.buffer_donor = true, " + sharding
	if got := string(markDonors([]byte(sharded))); got != marked {
		t.Errorf("got\n%s\nwant\n%s", got, marked)
	}
	for _, other := range []string{"", "func.func @main(", "func.func @main(%_other: tensor<f32>)\n"} {
		if got := markDonors([]byte(other)); got != nil {
			t.Errorf("%q: %s", other, got)
		}
	}
}
