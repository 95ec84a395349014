// Command peers is what make.sh needs and Debian does not have: servers and clients
// of HTTP/3, HTTP/2 and WebRTC data channels.
//
//	peers h3server|h3client|h2server|h2client|rtcserver|rtcclient ADDRESS:PORT
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func cert() tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"peer.example"}}
	der, _ := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto+" hello\n")
		w.Write(make([]byte, 5000))
	})
	switch os.Args[1] {
	case "h3server":
		log.Fatal((&http3.Server{Addr: os.Args[2], Handler: mux, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert()}})}).ListenAndServe())
	case "h3client":
		for n := range 20 {
			version := []quic.Version{quic.Version1, quic.Version2}[n%2]
			tr := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "peer.example"}, QUICConfig: &quic.Config{Versions: []quic.Version{version}}}
			r, err := (&http.Client{Transport: tr}).Get("https://" + os.Args[2] + "/")
			if err != nil {
				fmt.Println(err)
			} else {
				io.Copy(io.Discard, r.Body)
			}
			tr.Close()
		}
	case "h2server":
		s := &http.Server{Addr: os.Args[2], Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert()}}}
		log.Fatal(s.ListenAndServeTLS("", ""))
	case "h2client":
		for range 40 {
			tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "peer.example"}, ForceAttemptHTTP2: true}
			r, err := (&http.Client{Transport: tr}).Get("https://" + os.Args[2] + "/")
			if err == nil {
				io.Copy(io.Discard, r.Body)
			}
			tr.CloseIdleConnections()
		}
	case "rtcserver": // offer over HTTP, answer back; data channel echo
		http.HandleFunc("/offer", func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			pc := newPC()
			pc.OnDataChannel(func(d *webrtc.DataChannel) { d.OnMessage(func(m webrtc.DataChannelMessage) { d.Send(m.Data) }) })
			pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(b)})
			a, _ := pc.CreateAnswer(nil)
			g := webrtc.GatheringCompletePromise(pc)
			pc.SetLocalDescription(a)
			<-g
			io.WriteString(w, pc.LocalDescription().SDP)
		})
		log.Fatal(http.ListenAndServe(os.Args[2], nil))
	case "rtcclient":
		for range 5 {
			rtc(os.Args[2])
		}
	}
}

func newPC() *webrtc.PeerConnection {
	s := webrtc.SettingEngine{}
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		log.Fatal(err)
	}
	return pc
}

func rtc(addr string) {
	pc := newPC()
	defer pc.Close()
	d, _ := pc.CreateDataChannel("x", nil)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	n := 0
	d.OnOpen(func() { d.Send(make([]byte, 900)) })
	d.OnMessage(func(m webrtc.DataChannelMessage) {
		if n++; n > 20 {
			cancel()
			return
		}
		d.Send(m.Data)
	})
	o, _ := pc.CreateOffer(nil)
	g := webrtc.GatheringCompletePromise(pc)
	pc.SetLocalDescription(o)
	<-g
	r, err := http.Post("http://"+addr+"/offer", "text/plain", strings.NewReader(pc.LocalDescription().SDP))
	if err != nil {
		fmt.Println(err)
		return
	}
	b, _ := io.ReadAll(r.Body)
	pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(b)})
	<-ctx.Done()
}
