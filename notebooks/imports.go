// Package notebooks holds no code: the notebooks beside this file import the module's packages. What only their cells import is
// imported here, so that go.mod pins its version.
package notebooks

import _ "github.com/janpfeifer/gonb/gonbui"
