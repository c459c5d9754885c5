package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/dhkd-lab/dhkd-go/dhkd/weights/teachers"
)

type listTeachersCmd struct {
	JSON bool `help:"Print a JSON array, with addresses and notes."`
}

func (listTeachersCmd) Help() string {
	return `Examples:

  dhkd list teachers
  dhkd distill my.yaml --run dhkd --teacher crd:resnet32x4

Networks that others have trained and published. The accuracy is top-1 in per cent as the source says; dhkd distill
evaluates the network and compares before it is used. A file under DHKD_TEACHERS adds teachers of your own.

` + exits(exitOK, exitUsage)
}

// Run lists the teachers.
func (c *listTeachersCmd) Run(out output) error {
	list, err := teachers.List()
	if err != nil {
		return withCode(exitUsage, err)
	}
	type teacherInfo struct {
		teachers.Teacher
		Found string `json:"found"` // the file's path; empty when it is not on this machine
	}
	infos := make([]teacherInfo, len(list))
	for i, t := range list {
		infos[i] = teacherInfo{t, t.Cached()}
	}
	if c.JSON {
		return out.json(infos)
	}
	const head = "teacher\tmodel\tdata set\tpublished\tlicence\tin cache\tsource of the accuracy"
	return table(out.stdout, head, func(w io.Writer) {
		for _, t := range infos {
			published, here := "not known", "no"
			if t.Top1 != nil {
				published = fmt.Sprintf("%.2f", *t.Top1)
			}
			if t.Found != "" {
				here = "yes"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Reference, t.Model, t.Dataset, published,
				cmp.Or(t.Licence, "not known"), here, cmp.Or(t.Top1Source, "not known"))
		}
	})
}
