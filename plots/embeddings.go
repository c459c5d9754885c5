package plots

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Embeddings draws pictures of the pooled features, record.TSNE or record.PCA: a dot for each test image, the student
// of each analysis and their teachers side by side. Up to ten classes have a colour and a shape of their own, by
// default those with the most images, the first of equals; images of others are grey. Axes of t-SNE have no unit, and
// distances between far groups mean nothing. The error says which run has no such picture and how to get it, which
// class is unknown, or what option is bad.
func Embeddings(analyses []*record.Analysis, kind string, classes []int, o Options) (*Figure, error) {
	title := "t-SNE of the features"
	subtitle := "A dot is a test image. The axes have no unit; distances between far groups mean nothing."
	if kind == record.PCA {
		title = "Principal components of the features"
		subtitle = "A dot is a test image; the axes are the two directions of the largest variance, with their share of it."
	}
	o, titles, caption, err := resolveAnalyses(analyses, title, o)
	if err != nil {
		return nil, err
	}
	var clouds, ofTeachers []*cloud
	seen := map[string]bool{}
	for i, a := range analyses {
		has := false
		for _, e := range pictures(a.Embeddings) {
			if e.Kind != kind {
				continue
			}
			has = true
			c := &cloud{title: titles[i], Embedding: e, labels: a.Embeddings.Labels}
			switch {
			case e.Of != record.TeacherNetwork:
				clouds = append(clouds, c)
			case a.Teacher == nil || !seen[a.Teacher.SHA256]:
				c.title = "Teacher"
				if len(ofTeachers) > 0 {
					c.title += " of " + titles[i]
				}
				if ofTeachers = append(ofTeachers, c); a.Teacher != nil {
					seen[a.Teacher.SHA256] = true
				}
			}
		}
		if !has {
			return nil, lacking(a, "picture of the kind "+Printable(kind, 20), " (without --embed)")
		}
	}
	clouds = append(ofTeachers, clouds...)
	if classes, err = groups(clouds, classes); err != nil {
		return nil, err
	}
	var keys []key
	for k, class := range classes {
		style := groupStyle(k)
		style.Radius = 3
		keys = append(keys, key{label: fmt.Sprintf("class %d", class), glyph: &style})
	}
	if clouds[0].others(classes) {
		keys = append(keys, key{label: "other classes",
			glyph: &draw.GlyphStyle{Color: rule, Radius: 1.5, Shape: draw.CircleGlyph{}}})
	}
	f := newFrame(o, subtitle, caption, keys...)
	columns := min(len(clouds), o.columnsFor(3))
	rows := (len(clouds) + columns - 1) / columns
	const gap, above, below = vg.Length(12), vg.Length(18), vg.Length(16)
	side := (f.width - 2*margin - gap*vg.Length(columns-1)) / vg.Length(columns)
	alt := "Scatter plots of features."
	for _, c := range clouds {
		alt += fmt.Sprintf(" %s: %d images.", c.title, len(c.Points))
	}
	return f.figure(o, alt+" "+caption+".", vg.Length(rows)*(side+above+below), func(c draw.Canvas) {
		for i, cloud := range clouds {
			at := c
			at.Min.X += vg.Length(i%columns) * (side + gap)
			at.Max.X = at.Min.X + side
			at.Max.Y -= vg.Length(i/columns) * (side + above + below)
			at = tile{title: cloud.title}.drawTitle(at, vg.Point{X: at.Min.X, Y: at.Max.Y})
			at.Min.Y = at.Max.Y - side
			cloud.draw(at, classes)
		}
	}), nil
}

func pictures(e *record.Embeddings) []record.Embedding {
	if e == nil {
		return nil
	}
	return e.All
}

// cloud is a panel of dots.
type cloud struct {
	title string
	record.Embedding
	labels []int
}

// groups checks the classes that get a colour, or chooses them.
func groups(clouds []*cloud, classes []int) ([]int, error) {
	counts := map[int]int{}
	for _, label := range clouds[0].labels {
		counts[label]++
	}
	if len(classes) > maxGroups {
		return nil, fmt.Errorf("%d classes: too many to tell apart, the limit is %d", len(classes), maxGroups)
	}
	for _, class := range classes {
		if counts[class] == 0 {
			return nil, fmt.Errorf("class %d: none of the images in the analysis is of it", class)
		}
	}
	if len(classes) > 0 {
		return classes, nil
	}
	for class := range counts {
		classes = append(classes, class)
	}
	slices.SortFunc(classes, func(a, b int) int { return cmp.Or(counts[b]-counts[a], a-b) })
	classes = classes[:min(len(classes), maxGroups)]
	slices.Sort(classes)
	return classes, nil
}

func (c *cloud) others(classes []int) bool {
	return slices.ContainsFunc(c.labels, func(label int) bool { return !slices.Contains(classes, label) })
}

// draw draws the dots into the square of the canvas, with one scale for both directions.
func (cloud *cloud) draw(c draw.Canvas, classes []int) {
	low, high := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for _, pt := range cloud.Points {
		for d, v := range pt {
			low[d], high[d] = math.Min(low[d], v), math.Max(high[d], v)
		}
	}
	reach := math.Max(math.Max(high[0]-low[0], high[1]-low[1])*1.06, 1e-9)
	at := func(pt [2]float64) vg.Point {
		place := func(d int, from, to vg.Length) vg.Length {
			return from + (to-from)*vg.Length(0.5+(pt[d]-(low[d]+high[d])/2)/reach)
		}
		return vg.Point{X: place(0, c.Min.X, c.Max.X), Y: place(1, c.Min.Y, c.Max.Y)}
	}
	c.StrokeLines(draw.LineStyle{Color: rule, Width: 0.6}, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max,
		{X: c.Min.X, Y: c.Max.Y}, c.Min})
	for i, pt := range cloud.Points {
		if !slices.Contains(classes, cloud.labels[i]) {
			c.DrawGlyphNoClip(draw.GlyphStyle{Color: faded(rule, 0.5), Radius: 1, Shape: draw.CircleGlyph{}}, at(pt))
		}
	}
	for i, pt := range cloud.Points {
		if k := slices.Index(classes, cloud.labels[i]); k >= 0 {
			style := groupStyle(k)
			style.Color = faded(style.Color, 0.85)
			c.DrawGlyphNoClip(style, at(pt))
		}
	}
	small := textStyle(8, false, muted)
	c.FillText(small, vg.Point{X: c.Min.X, Y: c.Min.Y - 11}, shorten(cloud.below(), small, c.Max.X-c.Min.X))
}

// below says what the axes are.
func (cloud *cloud) below() string {
	if cloud.Kind == record.TSNE {
		return fmt.Sprintf("perplexity %s, seed %d, KL %.2f nats", number(cloud.Perplexity), cloud.Seed, cloud.KL)
	}
	var parts []string
	for _, share := range cloud.Explained {
		parts = append(parts, fmt.Sprintf("%.0f\u00a0%%", 100*share))
	}
	return "variance: across " + strings.Join(parts, ", upwards ")
}
