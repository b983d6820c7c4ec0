// Command coredns is CoreDNS with the plugins that a test cluster's DNS uses, and without those that talk to clouds.
package main

import (
	"github.com/coredns/coredns/coremain"

	// The order in which queries pass the plugins is CoreDNS' own, whatever the order here.
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
)

func main() {
	coremain.Run()
}
