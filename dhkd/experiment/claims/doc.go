// Package claims holds the claims of the DHKD paper (arXiv 2411.08937) as data, [Paper], and says which of them hold in
// records of runs: [Judge]. The report and the notebooks take them from here, so that they cannot disagree.
//
// A claim is tested by comparisons of two quantities, such as the accuracies of two runs, seed by seed ([Comparison]).
// The 95 % confidence interval of the mean difference decides, see [Verdict]. Records of different profiles are never
// compared. Everything is a function of records ([record.Record]); nothing here needs a compute library.
package claims

import "github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"

// Claim is one of the paper's, and how it is tested.
type Claim struct {
	Number string // "i"
	Title  string // in our words
	// Quote is what the paper says word for word. It is empty where its words are not known; Reported says then what is
	// known of the claim, in our words.
	Quote, Reported string
	Source          string // of either
	Published       string // the paper's numbers with their source, or that they are not known
	Question        string // how it is tested
	Tests           []Test // the main one first
	Decides         string // what would decide it where the tests do not; commands stand between backticks
}

// Test is a claim's comparisons in one setting.
type Test struct {
	Title       string // of the setting
	Experiment  string // of all quantities that do not name another
	Profile     string // of the records
	Setting     string // sentences for readers
	Caveat      string // what may not be concluded from it, if it is more than of all tests
	Comparisons []Comparison
}

// Least differences that count.
const (
	leastPoints = 0.2  // of accuracy: reviews of the paper speak of gains of 0.1 to 0.2
	leastCosine = 0.05 // of the cosine between two gradients
	leastShare  = 0.01 // of the share of steps
)

// better claims that one run's accuracy is higher than another's.
func better(words string, more, less Quantity) Comparison {
	return Comparison{Words: words, More: more, Less: less, Least: leastPoints}
}

// asWell is the comparison beside the claim.
func (c Comparison) asWell() Comparison {
	c.Beside = true
	return c
}

const (
	head     = record.PartClassifier
	backbone = record.PartBackbone
)

func cosine(run, part string) Quantity    { return Quantity{Run: run, Of: MeanCosine(part)} }
func conflicts(run, part string) Quantity { return Quantity{Run: run, Of: ConflictShare(part)} }
