// Command policies enforces NetworkPolicy between the pods of one test node, with one nftables table.
//
// It is for this project's test cluster and nothing else: one node, IPv4, traffic between the node and its own pods is
// never touched. It fails closed: a pod's address that it has not seen yet neither sends nor receives, and when this
// process is gone its last rules stay.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/exec"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	settle     = 50 * time.Millisecond // changes come in bursts: a Deployment's pods, a namespace with its policies
	retryAfter = time.Second
)

// load replaces the whole table in one transaction.
func load(rules string) error {
	command := exec.Command("nft", "-f", "-")
	command.Stdin = strings.NewReader(rules)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, output)
	}
	return nil
}

func run(kubeconfig, podRange string) error {
	if err := load(renderClosed(podRange)); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	mark := func() {
		select {
		case changed <- struct{}{}:
		default: // one more look is already due
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { mark() }, UpdateFunc: func(any, any) { mark() }, DeleteFunc: func(any) { mark() },
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	ctx := context.Background()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	read := func() (seen observed, err error) {
		if seen.pods, err = pods.Lister().List(labels.Everything()); err != nil {
			return seen, err
		}
		if seen.namespaces, err = namespaces.Lister().List(labels.Everything()); err != nil {
			return seen, err
		}
		seen.policies, err = policies.Lister().List(labels.Everything())
		return seen, err
	}
	mark()
	return follow(changed, mark, read, podRange)
}

func follow(changed <-chan struct{}, mark func(), read func() (observed, error), podRange string) error {
	loaded := ""
	for range changed {
		time.Sleep(settle)
		seen, err := read()
		if err != nil {
			return err
		}
		rules := render(seen, podRange)
		if rules == loaded {
			continue
		}
		if err := load(rules); err != nil {
			log.Print(err)
			if err := load(renderClosed(podRange)); err != nil {
				return err
			}
			loaded = ""
			time.AfterFunc(retryAfter, mark)
			continue
		}
		loaded = rules
	}
	return nil
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	podRange := flag.String("pods", "", "the range of the pods' addresses, as in 198.18.1.0/24")
	flag.Parse()
	log.Fatal("policies: ", run(*kubeconfig, *podRange))
}
