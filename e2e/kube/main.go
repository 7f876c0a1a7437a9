// Command kubeall is every Kubernetes program that the tests start, and etcd, in one binary: no package registry
// carries them, and one link costs less than seven.
//
//	kubeall kube-apiserver --flag ...     (or a link named kube-apiserver)
//
// It is for tests only: etcd is embedded, with one member and the few flags that the tests give it.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // the controller-manager reads time zones of CronJobs

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Each constructor registers flags and feature gates for the whole process: only the chosen one may run.
var daemons = map[string]func() *cobra.Command{
	"kube-apiserver":          func() *cobra.Command { return apiserver.NewAPIServerCommand() },
	"kube-controller-manager": func() *cobra.Command { return controllers.NewControllerManagerCommand() },
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              func() *cobra.Command { return proxy.NewProxyCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	name := filepath.Base(os.Args[0])
	if !known(name) {
		if len(os.Args) < 2 || !known(os.Args[1]) {
			usage()
		}
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	switch name {
	case "etcd":
		if err := runEtcd(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "etcd:", err)
			os.Exit(1)
		}
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		os.Exit(cli.Run(daemons[name]()))
	}
}

func known(name string) bool {
	return daemons[name] != nil || name == "kubectl" || name == "etcd"
}

func usage() {
	names := strings.Join(slices.Sorted(maps.Keys(daemons)), " | ")
	fmt.Fprintf(os.Stderr, "usage: kubeall {etcd | kubectl | %s} [flags]\n", names)
	os.Exit(2)
}

// runEtcd serves one member until SIGTERM or SIGINT. Flags and the line that says ready are those of etcd itself, so
// that either can be started.
func runEtcd(args []string) error {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	folder := flags.String("data-dir", "default.etcd", "where the data is")
	client := flags.String("listen-client-urls", "http://127.0.0.1:2379", "where clients connect")
	peer := flags.String("listen-peer-urls", "http://127.0.0.1:2380", "where members would connect")
	flags.String("advertise-client-urls", "", "taken for etcd's sake; what listens is advertised")
	noSync := flags.Bool("unsafe-no-fsync", false, "never wait for the disk: the data is thrown away")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := etcdConfig(*folder, *client, *peer, *noSync)
	if err != nil {
		return err
	}
	member, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer member.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	select {
	case <-member.Server.ReadyNotify():
		fmt.Println("ready to serve client requests on", *client)
	case <-stop:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("not ready after 30 s")
	}
	select {
	case <-stop:
		return nil
	case err := <-member.Err():
		return err
	}
}

func etcdConfig(folder, client, peer string, noSync bool) (*embed.Config, error) {
	clientURL, err := url.Parse(client)
	if err != nil {
		return nil, err
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return nil, err
	}
	config := embed.NewConfig()
	config.Dir = folder
	config.LogLevel = "warn"
	// Zero, which is what an embedded etcd has, warns of every request.
	config.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	config.UnsafeNoFsync = noSync
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	return config, nil
}
