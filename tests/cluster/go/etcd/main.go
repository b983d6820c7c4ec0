// Command etcd is a store of one member for tests: plain HTTP on loopback, nothing is ever flushed to the disk.
//
// Only for clusters that are thrown away: a machine that loses power loses the data.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const (
	startWithin = 30 * time.Second
	quotaBytes  = 1 << 30
)

func configure(folder, client, peer string) (*embed.Config, error) {
	clientURL, err := url.Parse(client)
	if err != nil {
		return nil, fmt.Errorf("-client: %w", err)
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return nil, fmt.Errorf("-peer: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = folder
	config.LogLevel = "warn"
	config.UnsafeNoFsync = true
	config.QuotaBackendBytes = quotaBytes
	config.SocketOpts.ReusePort = true // whoever chose the port may hold it, bound but not listening, until we have it
	config.ListenClientUrls = []url.URL{*clientURL}
	config.AdvertiseClientUrls = config.ListenClientUrls
	config.ListenPeerUrls = []url.URL{*peerURL}
	config.AdvertisePeerUrls = config.ListenPeerUrls
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	return config, nil
}

func run(config *embed.Config) error {
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		return err
	case <-time.After(startWithin):
		return errors.New("not ready within " + startWithin.String())
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	select {
	case <-ended:
		return nil
	case err := <-server.Err():
		return err
	}
}

func main() {
	folder := flag.String("folder", "", "where the data lies")
	client := flag.String("client", "http://127.0.0.1:2379", "URL for the API server")
	peer := flag.String("peer", "http://127.0.0.1:2380", "URL for other members, of which there are none")
	flag.Parse()
	config, err := configure(*folder, *client, *peer)
	if err == nil {
		err = run(config)
	}
	if err != nil {
		log.Fatal("etcd: ", err)
	}
}
