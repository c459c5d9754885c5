package weights

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/dhkd-lab/dhkd-go/dhkd"
)

// Info is what the metadata of a file of weights say of the network: enough to build it and to feed it images, and
// where it comes from. Empty fields are not known.
type Info struct {
	Architecture string    // the zoo's name, "resnet8"
	Classes      int       // of the heads
	Head         string    // the main one: "linear" (also if empty), "nonlinear"
	AuxHead      string    // "none", "linear", "nonlinear"
	Dataset      string    // that it was trained on
	Mean, Std    []float64 // of each channel: images are normalised with (x - Mean) / Std, x in [0, 1]
	TestTop1     *float64  // accuracy in per cent, as who wrote the file measured it
	Recipe       string    // JSON of the recipe that it was trained with
	Predictor    string    // the method whose modules predict, with the teacher's classifier; else the main head does
	Source       string    // URL or path that it came from
	Licence      string    // SPDX's name
}

// The format of files of weights, in their metadata.
const (
	InfoFormat  = "dhkd-weights"
	InfoVersion = "1"
)

// PredictorKey is the key of [Info].Predictor in the metadata of a file. Its tensors are then those of the architecture,
// method.* and teacher.*.
const PredictorKey = "predictor"

// Alone is an error where the architecture is only a part of the file's network.
func (i Info) Alone() error {
	if i.Predictor == "" {
		return nil
	}
	return fmt.Errorf("it holds what method %.40q made of a %s: modules of the method and the teacher's classifier predict in "+
		"place of its head, which was not trained; dhkd evaluate takes it, and weights inspect and verify, but it is neither a "+
		"network to learn from nor one to export", i.Predictor, i.Architecture)
}

// Metadata returns the text metadata of a safetensors file.
func (i Info) Metadata() map[string]string {
	m := map[string]string{"format": InfoFormat, "version": InfoVersion}
	for key, value := range map[string]string{
		"architecture": i.Architecture, "head": i.Head, "aux_head": i.AuxHead, "dataset": i.Dataset, "recipe": i.Recipe,
		PredictorKey: i.Predictor, "source": i.Source, "licence": i.Licence, "mean": channels(i.Mean), "std": channels(i.Std),
	} {
		if value != "" {
			m[key] = value
		}
	}
	if i.Head == string(dhkd.LinearHead) { // which needs no word
		delete(m, "head")
	}
	if i.Classes > 0 {
		m["classes"] = strconv.Itoa(i.Classes)
	}
	if i.TestTop1 != nil {
		m["test_top1"] = strconv.FormatFloat(*i.TestTop1, 'f', -1, 64)
	}
	return m
}

func channels(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	text, err := json.Marshal(values)
	if err != nil { // NaN or infinite
		return ""
	}
	return string(text)
}

// ReadInfo reads the metadata of a file. Keys that it does not know are left alone; a known key with an impossible
// value, or a file of a later version, is an error that names the key.
func ReadInfo(metadata map[string]string) (i Info, err error) {
	m := metadata
	if m["format"] == InfoFormat && m["version"] != InfoVersion {
		return i, fmt.Errorf("the file has version %.20q, this program reads %q", m["version"], InfoVersion)
	}
	i = Info{
		Architecture: m["architecture"], Head: m["head"], AuxHead: m["aux_head"], Dataset: m["dataset"], Recipe: m["recipe"],
		Source: m["source"], Licence: m["licence"], Predictor: m[PredictorKey],
	}
	if s := m["classes"]; s != "" {
		if i.Classes, err = strconv.Atoi(s); err != nil || i.Classes < 2 || i.Classes > maxTensors {
			return i, fmt.Errorf("classes in the metadata is %.40q, not a number of classes", s)
		}
	}
	if s := m["test_top1"]; s != "" {
		top1, err := strconv.ParseFloat(s, 64)
		if err != nil || !(top1 >= 0 && top1 <= 100) {
			return i, fmt.Errorf("test_top1 in the metadata is %.40q, not an accuracy in per cent", s)
		}
		i.TestTop1 = &top1
	}
	for key, into := range map[string]*[]float64{"mean": &i.Mean, "std": &i.Std} {
		if s := m[key]; s != "" {
			if err := json.Unmarshal([]byte(s), into); err != nil || len(*into) == 0 || len(*into) > 16 {
				return i, fmt.Errorf("%s in the metadata is %.40q, not a list of numbers", key, s)
			}
		}
	}
	for _, v := range i.Std {
		if v <= 0 {
			return i, fmt.Errorf("std in the metadata is %v: it must be positive", i.Std)
		}
	}
	if len(i.Mean) != len(i.Std) {
		return i, fmt.Errorf("mean and std in the metadata are of %d and %d channels", len(i.Mean), len(i.Std))
	}
	return i, nil
}
