// Fetches one page with Go's net/http, whose proxy is the environment's, or with the SOCKS5 dialer of golang.org/x/net.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/proxy"
)

func main() {
	dialer := flag.String("dialer", "", "address of a SOCKS5 proxy for golang.org/x/net/proxy")
	user := flag.String("user", "", "its user")
	password := flag.String("password", "", "and password")
	ca := flag.String("ca", "", "who has signed the proxy's certificate; the proxy is then called under TLS")
	flag.Parse()
	if err := fetch(flag.Arg(0), *dialer, *ca, *user, *password); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// underTLS dials a proxy that is reached under TLS.
type underTLS struct{ config *tls.Config }

func (dialer underTLS) Dial(network, address string) (net.Conn, error) {
	return tls.Dial(network, address, dialer.config)
}

func fetch(url, address, ca, user, password string) error {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if address != "" {
		var auth *proxy.Auth
		if user != "" {
			auth = &proxy.Auth{User: user, Password: password}
		}
		var forward proxy.Dialer = proxy.Direct
		if ca != "" {
			pem, err := os.ReadFile(ca)
			if err != nil {
				return err
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(pem)
			forward = underTLS{&tls.Config{RootCAs: roots}}
		}
		socks, err := proxy.SOCKS5("tcp", address, auth, forward)
		if err != nil {
			return err
		}
		transport = &http.Transport{Dial: socks.Dial}
	}
	client := &http.Client{Transport: transport, Timeout: 15 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", answer.Status)
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}
