package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

// group lists the distinct answers of fact over all records, each with the runs that gave it when there are several.
func group(runs []*plots.Run, fact func(*record.Record) []field) []fields {
	var result []fields
	var of [][]string
	for _, run := range runs {
		for _, r := range run.Records {
			answer := fact(r)
			if len(answer) == 0 {
				continue
			}
			i := slices.IndexFunc(result, func(f fields) bool { return slices.Equal(f.Fields, answer) })
			if i < 0 {
				i = len(result)
				result, of = append(result, fields{Fields: answer}), append(of, nil)
			}
			if name := fmt.Sprintf("%s (seed %d)", run.Label, r.Recipe.Seed); !slices.Contains(of[i], name) {
				of[i] = append(of[i], name)
			}
		}
	}
	for i := range result {
		if len(result) > 1 {
			result[i].Of = strings.Join(of[i], ", ")
		}
	}
	return result
}

func environmentOf(r *record.Record) []field {
	e := r.Environment
	return known(
		field{"Backend", e.Backend},
		field{"Device", e.Device},
		field{"Plugin", e.Plugin},
		field{"PJRT API", e.API},
		field{"XLA flags", e.XLAFlags},
		field{"CPU", e.CPU},
		field{"Cores", number(e.Cores)},
		field{"System", strings.Trim(e.OS+"/"+e.Arch, "/")},
		field{"Go", e.Go},
		field{"GoMLX", e.GoMLX},
		field{"go-xla", e.GoXLA},
		field{"JPEG decoder", strings.Join(e.JPEG, ", then ")},
		field{"Commit", e.Commit},
	)
}

func teacherOf(r *record.Record) []field {
	t := r.Teacher
	if t == nil {
		return nil
	}
	return known(
		field{"Model", t.Model},
		field{"Test top-1, re-evaluated", fmt.Sprintf("%.2f %%", t.Top1)},
		field{"Published as", t.Reference},
		field{"Test top-1, as published", percent(t.Published)},
		field{"Ours on the same images", percent(t.Checked)},
		field{"Checkpoint", t.Checkpoint},
		field{"SHA-256", t.SHA256},
	)
}

func percent(value *float64) string {
	if value == nil {
		return ""
	}
	return fmt.Sprintf("%.2f %%", *value)
}

// dataOf describes the images, and the digests of the files that they were read from.
func dataOf(s *plots.Summary) (description fields, digests []field) {
	d := s.Data
	evaluation := plots.Printable(d.Evaluation, 20)
	if evaluation == "holdout" {
		evaluation = "images held out of the training set"
	}
	shape := ""
	if d.Shape != [3]int{} {
		shape = fmt.Sprintf("%d × %d × %d (channels, height, width)", d.Shape[0], d.Shape[1], d.Shape[2])
	}
	description = fields{Fields: known(
		field{"Name", d.Name},
		field{"Classes", number(d.Classes)},
		field{"Image", shape},
		field{"Training images", number(d.Train)},
		field{"Evaluated images", number(s.TestImages())},
		field{"Evaluated on", evaluation},
		field{"Augmentation", s.Dataset.Augment},
	)}
	for _, file := range slices.Sorted(maps.Keys(d.SHA256)) {
		digests = append(digests, field{plots.Printable(file, 100), plots.Printable(d.SHA256[file], 64)})
	}
	return description, digests
}

// known leaves out what the record does not say.
func known(all ...field) []field {
	var result []field
	for _, f := range all {
		if f.Value = plots.Printable(f.Value, 400); f.Value != "" {
			result = append(result, f)
		}
	}
	return result
}

func number(n int) string {
	if n <= 0 {
		return ""
	}
	return plots.Thousands(n)
}
