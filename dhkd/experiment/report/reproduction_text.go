package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/claims"
)

const (
	reproductionTitle = "Which of the paper's claims hold here"

	reproductionIntro = "The claims are those of Dual-Head Knowledge Distillation (arXiv 2411.08937) that can be tested " +
		"without the paper's numbers. Everything below is computed from records of real runs, whichever way it came out. " +
		"The small setting (profile offline) is not the paper's: small images (Fashion-Pairs-100), small networks, short " +
		"schedules. What is seen there, or not, neither confirms nor refutes what the paper reports of CIFAR-100 and " +
		"ImageNet. Numbers of the paper stand under “Published” and in no table."

	smallSetting = "small setting (profile offline)"
	paperSetting = "the paper's data and schedule (profile paper)"
)

// howToRead are the rules of the verdicts.
var howToRead = []string{
	"A comparison is a difference of two runs, seed by seed. Accuracies are those of the last epoch, in per cent of the " +
		"test images; no epoch was chosen.",
	"Seen: the 95 % confidence interval of the mean difference (Student's t over the seeds that both have) is above zero. " +
		"The opposite was seen: it is below zero. Not seen: it holds zero, and all of it is below the smallest difference " +
		"that would count (0.2 points, 0.05 of a cosine, 0.01 of a share). Undecided: it holds zero and more, or there is " +
		"one seed.",
	"A claim of several parts is seen where all are, not seen where one of them is refuted, and else undecided, also while " +
		"a part has no runs yet. Comparisons “beside” it are controls that take no part in the verdict.",
	"Of many comparisons some come out by chance: about one in 40 with no difference behind it is seen, and one in 40 is " +
		"seen the other way round. Nothing is corrected for that.",
}

// Text writes the claims and their verdicts, for a terminal.
func (r *Reproduction) Text(w io.Writer) error {
	var b strings.Builder
	for _, c := range r.Claims {
		fmt.Fprintf(&b, "(%s) %s\n", c.Number, c.Title)
		for _, t := range c.Tests {
			fmt.Fprintf(&b, "    %s (%s, %s): %s\n", t.Title, t.Experiment, t.Profile, t.Verdict)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the report.
func (r *Reproduction) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", reproductionTitle, reproductionIntro)
	fmt.Fprintf(&b, "| | claim | %s | %s |\n|---|---|---|---|\n", smallSetting, paperSetting)
	for _, c := range r.Claims {
		fmt.Fprintf(&b, "| [%s](#claim-%[1]s) | %s | %s | %s |\n", c.Number, escape(c.Title),
			verdicts(c, claims.ProfileOffline), verdicts(c, claims.ProfilePaper))
	}
	b.WriteString("\n")
	for _, rule := range howToRead {
		fmt.Fprintf(&b, "- %s\n", rule)
	}
	for _, c := range r.Claims {
		c.markdown(&b)
	}
	b.WriteString("\n## Where the numbers come from\n")
	for i, paragraph := range r.origin() {
		if i > 0 { // what records say
			paragraph = escape(paragraph)
		}
		fmt.Fprintf(&b, "\n%s\n", paragraph)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// verdicts are those of a claim's tests of a profile, in a cell of a table.
func verdicts(c ReproducedClaim, profile string) string {
	var all []string
	for _, t := range c.Tests {
		switch {
		case t.Profile != profile:
		case t.Verdict == claims.NoRuns:
			all = append(all, fmt.Sprintf("%s: %s", t.Title, t.Verdict))
		default:
			all = append(all, fmt.Sprintf("%s: **%s**", t.Title, t.Verdict))
		}
	}
	return strings.Join(all, "<br>")
}

func (c ReproducedClaim) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n<a id=\"claim-%s\"></a>\n\n## (%[1]s) %s\n\n", c.Number, escape(c.Title))
	fmt.Fprintf(b, "- **The paper:** %s\n", c.words())
	fmt.Fprintf(b, "- **Published:** %s\n", c.Claim.Published)
	fmt.Fprintf(b, "- **Our test:** %s\n", c.Claim.Question)
	for _, t := range c.Tests {
		t.markdown(b)
	}
	fmt.Fprintf(b, "\n### What would decide it (%s)\n\n", c.Number)
	for _, sentence := range c.Open {
		fmt.Fprintf(b, "- %s\n", sentence)
	}
	fmt.Fprintf(b, "- %s\n", c.Claim.Decides)
}

// words are the paper's, or what is reported of them.
func (c ReproducedClaim) words() string {
	if c.Claim.Quote != "" {
		return fmt.Sprintf("“%s” (%s)", c.Claim.Quote, c.Claim.Source)
	}
	return fmt.Sprintf("In our words: %s. (%s.)", c.Claim.Reported, c.Claim.Source)
}

func (t ReproducedTest) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s: %s\n\n", t.Title, t.Verdict)
	fmt.Fprintf(b, "Experiment `%s`, profile %s. %s\n", t.Experiment, t.Profile, t.about())
	if t.Verdict == claims.NoRuns && len(t.Runs) == 0 {
		return
	}
	b.WriteString("\n| comparison | claimed larger | claimed smaller | difference [95 %] | seeds | verdict |\n" +
		"|---|--:|--:|--:|--:|---|\n")
	for _, row := range t.Rows {
		words := escape(row.Words)
		if row.Beside {
			words = "*beside:* " + words
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %d | %s |\n", words, row.Larger(), row.Smaller(), row.Interval(), len(row.Seeds),
			row.Verdict)
	}
	var runs []string
	for _, run := range t.Runs {
		text := escape(run.Name) + " seed"
		if len(run.Seeds) > 1 {
			text += "s"
		}
		for _, seed := range run.Seeds {
			text += fmt.Sprintf(" [%d](%s)", seed.Seed, seed.Link)
		}
		runs = append(runs, text)
	}
	fmt.Fprintf(b, "\nRecords: %s.\n", strings.Join(runs, "; "))
}

// about is what is to be known of a test before its numbers.
func (t ReproducedTest) about() string {
	text := t.Test.Setting
	if t.Test.Caveat != "" {
		text += " " + t.Test.Caveat
	}
	return text + " Result: " + t.Parts + "."
}

// Larger is the mean of the quantity that is claimed to be larger, "–" where there is none; Smaller that of the other.
func (r ReproducedRow) Larger() string { return claims.Digits(r.result.MeanMore) }

// Smaller is described with Larger.
func (r ReproducedRow) Smaller() string { return claims.Digits(r.result.MeanLess) }

// Interval is the mean difference with its interval.
func (r ReproducedRow) Interval() string { return r.result.Interval() }

// origin says where the numbers come from: a paragraph with a command between backticks, and two of what records say.
func (r *Reproduction) origin() []string {
	if r.Records == 0 {
		return []string{"There are no records of the compared runs."}
	}
	return []string{
		fmt.Sprintf("Made by `dhkd report --claims` from %s of %s. No claim makes use of %s beside them.", count(r.Records),
			r.Days, count(r.Others)),
		"On " + strings.Join(r.Devices, "; ") + ".",
		"By commit " + strings.Join(r.Commits, ", ") + ".",
	}
}

func count(records int) string {
	if records == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", records)
}
