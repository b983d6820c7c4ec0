package main

import (
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const podRange = "198.18.1.0/24"

func aPod(namespace, name, address string, ports ...core.ContainerPort) *core.Pod {
	return &core.Pod{
		ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec:       core.PodSpec{Containers: []core.Container{{Ports: ports}}},
		Status:     core.PodStatus{PodIP: address, Phase: core.PodRunning},
	}
}

func aNamespace(name string) *core.Namespace {
	return &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{"is": name}}}
}

func aPolicy(namespace string, spec networking.NetworkPolicySpec) *networking.NetworkPolicy {
	return &networking.NetworkPolicy{ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: "policy"}, Spec: spec}
}

func labeled(key, value string) *meta.LabelSelector {
	return &meta.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func from(peers ...networking.NetworkPolicyPeer) []networking.NetworkPolicyIngressRule {
	return []networking.NetworkPolicyIngressRule{{From: peers}}
}

// findChain returns the lines of one chain, or nothing if there is no such chain.
func findChain(rules, name string) string {
	_, rest, _ := strings.Cut(rules, "chain "+name+" {\n")
	chain, _, _ := strings.Cut(rest, "  }")
	return strings.Join(strings.Fields(chain), " ")
}

func TestAChainHoldsWhatThePoliciesAllow(t *testing.T) {
	serving := core.ContainerPort{Name: "wire", ContainerPort: 7000}
	here := []*core.Pod{
		aPod("lab", "server", "198.18.1.2", serving), aPod("lab", "client", "198.18.1.3"),
		aPod("other", "client", "198.18.1.4", serving),
	}
	number, name, end := intstr.FromInt32(7000), intstr.FromString("wire"), int32(7009)
	udp := core.ProtocolUDP
	client := networking.NetworkPolicyPeer{PodSelector: labeled("app", "client")}
	elsewhere := networking.NetworkPolicyPeer{
		NamespaceSelector: labeled("is", "other"), PodSelector: labeled("app", "client"),
	}
	block := networking.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.1.0.0/16"}}
	for title, each := range map[string]struct {
		spec  networking.NetworkPolicySpec
		chain string
		want  string
	}{
		"no rule denies all":                 {networking.NetworkPolicySpec{}, "in-198.18.1.2", "counter drop"},
		"no egress rule leaves egress alone": {networking.NetworkPolicySpec{}, "out-198.18.1.2", ""},
		"an empty rule allows all": {
			networking.NetworkPolicySpec{Ingress: from()}, "in-198.18.1.2", "accept counter drop",
		},
		"a pod selector means the policy's own namespace": {
			networking.NetworkPolicySpec{Ingress: from(client)}, "in-198.18.1.2",
			"ip saddr 198.18.1.3 accept counter drop",
		},
		"both selectors mean those pods in those namespaces": {
			networking.NetworkPolicySpec{Ingress: from(elsewhere)}, "in-198.18.1.2",
			"ip saddr 198.18.1.4 accept counter drop",
		},
		"a block with exceptions": {
			networking.NetworkPolicySpec{Ingress: from(networking.NetworkPolicyPeer{IPBlock: &block})}, "in-198.18.1.2",
			"ip saddr 10.0.0.0/8 ip saddr != { 10.1.0.0/16 } accept counter drop",
		},
		"ports by number, range, protocol and name": {
			networking.NetworkPolicySpec{Ingress: []networking.NetworkPolicyIngressRule{{
				Ports: []networking.NetworkPolicyPort{
					{Port: &number}, {Port: &number, EndPort: &end}, {Protocol: &udp}, {Port: &name},
				},
			}}},
			"in-198.18.1.2",
			"tcp dport 7000 accept tcp dport 7000-7009 accept meta l4proto udp accept tcp dport 7000 accept counter drop",
		},
		"a named port of egress is the receiver's, and its ingress is still to come": {
			networking.NetworkPolicySpec{
				PolicyTypes: []networking.PolicyType{networking.PolicyTypeEgress},
				Egress: []networking.NetworkPolicyEgressRule{{
					To: []networking.NetworkPolicyPeer{client, elsewhere}, Ports: []networking.NetworkPolicyPort{{Port: &name}},
				}},
			},
			"out-198.18.1.2", "ip daddr 198.18.1.4 tcp dport 7000 return counter drop",
		},
		"egress alone leaves ingress alone": {
			networking.NetworkPolicySpec{PolicyTypes: []networking.PolicyType{networking.PolicyTypeEgress}},
			"in-198.18.1.2", "",
		},
	} {
		t.Run(title, func(t *testing.T) {
			seen := observed{
				here, []*core.Namespace{aNamespace("lab"), aNamespace("other")},
				[]*networking.NetworkPolicy{aPolicy("lab", each.spec)},
			}
			if got := findChain(render(seen, podRange), each.chain); got != each.want {
				t.Errorf("chain %s is %q, want %q", each.chain, got, each.want)
			}
		})
	}
}

func TestOnlyPodsWithAnAddressOfTheirOwnAreKnown(t *testing.T) {
	ended, hosted := aPod("lab", "ended", "198.18.1.2"), aPod("lab", "hosted", "198.18.0.1")
	ended.Status.Phase, hosted.Spec.HostNetwork = core.PodSucceeded, true
	rules := render(observed{pods: []*core.Pod{ended, hosted, aPod("lab", "here", "198.18.1.3")}}, podRange)
	if !strings.Contains(rules, "set known { type ipv4_addr; elements = { 198.18.1.3 } }") {
		t.Error(rules)
	}
}

func TestTheOrderOfWhatIsSeenChangesNothing(t *testing.T) {
	one, two := aPod("lab", "one", "198.18.1.2"), aPod("lab", "two", "198.18.1.3")
	policies := []*networking.NetworkPolicy{aPolicy("lab", networking.NetworkPolicySpec{Ingress: from()})}
	first := render(observed{pods: []*core.Pod{one, two}, policies: policies}, podRange)
	second := render(observed{pods: []*core.Pod{two, one}, policies: policies}, podRange)
	if first != second {
		t.Error("the texts differ")
	}
}
