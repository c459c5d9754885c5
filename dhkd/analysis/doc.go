// Package analysis measures what a trained network has become, whatever trained it: neural collapse of its heads, its
// logits, and its features beside another network's. It takes numbers, row-major, and gives parts of [record.Analysis];
// package experiment runs the networks.
package analysis
