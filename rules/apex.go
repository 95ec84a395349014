package rules

import "strings"

// neverApex lists zones under which anyone can have a name: dynamic DNS, shared
// hosts, link and chat services, and public suffixes met in feeds. A name below
// one may be an indicator; the zone itself never, since it would tie strangers
// to an entity. (t.me was named by a designation in 2026, and is everybody's.)
var neverApex = zones(`
softether.net sednc.cn opengw.net
ooguy.com giize.com accesscam.org casacam.net camdvr.org freeddns.org gleeze.com kozow.com loseyourip.com mywire.org theworkpc.com webredirect.org
ddns.net ddnsfree.com dynu.net dynu.com duckdns.org no-ip.org no-ip.com no-ip.biz noip.me hopto.org zapto.org sytes.net myftp.org redirectme.net servehttp.com
3utilities.com bounceme.net gotdns.com dyndns.org dyndns.info homelinux.org afraid.org mooo.com chickenkiller.com changeip.com ddns.info dns.army v6.army dynv6.net
ddns.us ns01.us dnsrd.com otzo.com itsaol.com onedumb.com mrbasic.com sexidude.com toh.info xxuz.com zzux.com ygto.com 3322.org f3322.net f3322.org 8866.org vicp.net gnway.net
t.me telegram.me telegram.org discord.gg discord.com wa.me bit.ly tinyurl.com goo.gl
github.com github.io githubusercontent.com gitlab.com gitlab.io bitbucket.org pastebin.com
google.com googleapis.com googleusercontent.com appspot.com web.app firebaseapp.com run.app blogspot.com withgoogle.com
microsoft.com windows.net azurewebsites.net azureedge.net cloudapp.net cloudapp.azure.com trafficmanager.net onmicrosoft.com sharepoint.com live.com office.com
amazonaws.com cloudfront.net awsglobalaccelerator.com elasticbeanstalk.com
cloudflare.com workers.dev pages.dev trycloudflare.com cloudflare-dns.com r2.dev
vercel.app netlify.app herokuapp.com onrender.com fly.dev ngrok.io ngrok.app ngrok-free.app ngrok.com loca.lt serveo.net localhost.run
digitaloceanspaces.com ondigitalocean.app linodeusercontent.com vultrusercontent.com akamaized.net akamaihd.net akamaiedge.net edgekey.net edgesuite.net fastly.net fastlylb.net
facebook.com youtube.com twitter.com x.com linkedin.com instagram.com dropbox.com wikipedia.org wordpress.com
co.uk org.uk ac.uk gov.uk com.cn net.cn org.cn gov.cn com.tw org.tw com.hk co.jp ne.jp or.jp co.kr com.au net.au com.br com.tr com.ru co.in co.za co.nz com.sg com.my com.vn co.th co.id
eu.org us.com uk.com cn.com de.com ru.com
`)

func zones(list string) map[string]bool {
	set := map[string]bool{}
	for zone := range strings.FieldsSeq(list) {
		set[zone] = true
	}
	return set
}

// NeverApex says whether name is a zone that strangers share, so that it can
// never be an indicator itself.
func NeverApex(name string) bool { return neverApex[name] }
