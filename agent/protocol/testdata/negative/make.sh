#!/bin/bash
# Makes captures of ordinary traffic with real programs of Debian 12, between two
# network namespaces with 198.18.0.1 (client) and 198.18.0.2 (server).
#
#	make.sh FOLDER [SECTION...]
#
# Needs root and the packages named in manifest.yaml. PEERS is the program built
# of peers/, for QUIC, HTTP/2 and WebRTC; those sections are left out without it.
# Every section ends what it started, by process id.
set -u
OUT=$(realpath -m "$1"); shift
HERE=$(dirname "$(realpath "$0")")
WORK=$(mktemp -d /tmp/negative.XXXXXX)
C=spnc$$ S=spns$$ SERVER=198.18.0.2 CLIENT=198.18.0.1
PATH=$PATH:/usr/sbin:/sbin:/usr/lib/postgresql/15/bin
mkdir -p "$OUT"
pids=()

c() { ip netns exec $C timeout "${T:-20}" "$@" >>"$WORK/log" 2>&1; }
s() { ip netns exec $S timeout 90 "$@" >>"$WORK/log" 2>&1 & pids+=($!); }
down() { for p in "${pids[@]:-}"; do [ -n "$p" ] && kill "$p" 2>/dev/null && wait "$p" 2>/dev/null; done; pids=(); }
finish() { down; ip netns del $C; ip netns del $S; rm -rf "$WORK"; }
trap finish EXIT

ip netns add $C; ip netns add $S
ip link add v0 netns $C type veth peer name v0 netns $S
for pair in "$C $CLIENT" "$S $SERVER"; do
	set -- $pair "$@"; ns=$1 addr=$2; shift 2
	ip -n "$ns" link set lo up; ip -n "$ns" addr add "$addr/24" dev v0; ip -n "$ns" link set v0 up; ip -n "$ns" route add 224.0.0.0/4 dev v0
	ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
done

# waits for a port of the server: proto, number
port() { for _ in $(seq 100); do ip netns exec $S ss -Hln"$1" "sport = :$2" | grep -q . && return; sleep 0.1; done; echo "nothing on $1 $2" >&2; }
key() { openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=$1" -keyout "$WORK/$1.key" -out "$WORK/$1.crt" 2>/dev/null; }

snmp() {
	printf 'rocommunity public\ncreateUser lab SHA password1 AES password1\nrouser lab priv\n' >"$WORK/snmpd.conf"
	SNMP_PERSISTENT_DIR=$WORK s snmpd -f -Lf /dev/null -C -c "$WORK/snmpd.conf" udp:161; port u 161
	for _ in 1 2 3 4 5; do c snmpwalk -v2c -c public -t 1 -r 0 $SERVER system; c snmpget -v1 -c public -t 1 -r 0 $SERVER 1.3.6.1.2.1.1.1.0; done
	for _ in 1 2 3; do c snmpwalk -v3 -u lab -l authPriv -a SHA -A password1 -x AES -X password1 -t 1 -r 0 $SERVER system; done
}
radius() {
	cp -r /etc/freeradius/3.0 "$WORK/radius"; printf 'client lab { ipaddr = 198.18.0.0/24\n secret = testing123 }\n' >>"$WORK/radius/clients.conf"
	printf 'bob Cleartext-Password := "hello"\n' >>"$WORK/radius/mods-config/files/authorize"; chown -R freerad "$WORK/radius"; chmod 755 "$WORK"
	s freeradius -f -d "$WORK/radius" -l /dev/null; port u 1812
	for i in $(seq 8); do printf 'User-Name=bob,User-Password=hello,NAS-Port=%d\n' $i | T=5 c radclient -r 1 -t 1 $SERVER auth testing123
		printf 'User-Name=bob,Acct-Status-Type=Start,Acct-Session-Id=%d\n' $i | T=5 c radclient -r 1 -t 1 $SERVER acct testing123; done
}
kerberos() {
	export KRB5_CONFIG=$WORK/krb5.conf KRB5_KDC_PROFILE=$WORK/kdc.conf
	printf '[libdefaults]\ndefault_realm=LAB\nrdns=false\n[realms]\nLAB={\nkdc=%s\n}\n' $SERVER >"$KRB5_CONFIG"
	printf '[realms]\nLAB={\ndatabase_name=%s/principal\nkey_stash_file=%s/stash\nkdc_ports=88\nkdc_tcp_ports=88\n}\n' "$WORK" "$WORK" >"$KRB5_KDC_PROFILE"
	kdb5_util create -s -r LAB -P secret >>"$WORK/log" 2>&1; kadmin.local -q 'addprinc -pw pass bob' >>"$WORK/log" 2>&1
	s krb5kdc -n; port u 88
	for i in 1 2 3 4 5; do printf 'pass\n' | c kinit -c "$WORK/cc$i" bob; c kvno -c "$WORK/cc$i" krbtgt/LAB; done
	sed -i 's/rdns=false/rdns=false\nudp_preference_limit=1/' "$KRB5_CONFIG"; printf 'pass\n' | c kinit -c "$WORK/cc" bob
}
tftp_() {
	mkdir -p "$WORK/tftp"; head -c 20000 /dev/urandom >"$WORK/tftp/file"; chmod -R a+rX "$WORK"; chmod 666 "$WORK/tftp/file"
	s in.tftpd -L -u nobody -a $SERVER:69 -s "$WORK/tftp"; port u 69
	for m in octet netascii octet; do c tftp -m $m $SERVER -c get file "$WORK/got"; done
	c curl -s -o /dev/null tftp://$SERVER/file; c curl -s -T "$WORK/tftp/file" tftp://$SERVER/file
}
sip() {
	s sipp -sn uas -i $SERVER -p 5060; port u 5060
	c sipp -sn uac -i $CLIENT -p 5070 -m 20 -r 10 -l 5 -d 300 -rtp_echo $SERVER:5060; c sipp -sn uac -t t1 -i $CLIENT -m 3 $SERVER:5060
}
rtp() {
	for p in 5004 1194 4500 3389 51820 1701; do
		T=6 c ffmpeg -re -f lavfi -i sine=frequency=440 -t 1 -c:a pcm_mulaw -f rtp rtp://$SERVER:$p
		T=6 c ffmpeg -re -f lavfi -i sine=frequency=300 -t 1 -c:a pcm_mulaw -srtp_out_suite AES_CM_128_HMAC_SHA1_80 -srtp_out_params MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNk -f rtp srtp://$SERVER:$p
	done
	T=6 c ffmpeg -re -f lavfi -i testsrc=size=160x120:rate=10 -t 1 -f mpegts udp://$SERVER:1234
}
turn() {
	key turn; s turnserver -n --no-cli -L $SERVER -r lab -u u:p --lt-cred-mech --cert "$WORK/turn.crt" --pkey "$WORK/turn.key" --log-file /dev/null --allow-loopback-peers --pidfile "$WORK/turn.pid"; port u 3478
	s turnutils_peer -L $SERVER; c turnutils_stunclient $SERVER
	for o in "" "-t" "-S" "-t -S" "-s"; do T=8 c turnutils_uclient $o -u u -w p -e $SERVER -n 8 -m 3 -l 200 $SERVER; done
}
dtls() {
	key dtls; cd "$WORK"
	for p in 443 4433 10000 4500 1194; do
		s openssl s_server -dtls1_2 -port $p -cert dtls.crt -key dtls.key -quiet; sleep 0.5
		(echo hello; sleep 0.5) | T=4 c openssl s_client -dtls1_2 -connect $SERVER:$p -sess_out sess -no_ticket; (echo again; sleep 0.5) | T=4 c openssl s_client -dtls1_2 -connect $SERVER:$p -sess_in sess -no_ticket
	done
	s openssl s_server -dtls1_2 -port 4434 -nocert -psk 1a2b3c4d -quiet; sleep 0.5
	for o in "" "-no_ticket" "-cipher PSK-AES128-GCM-SHA256 -no_ticket"; do (echo hello; sleep 0.5) | T=4 c openssl s_client -dtls1_2 -connect $SERVER:4434 -psk 1a2b3c4d $o -sess_out psk; (echo hello; sleep 0.5) | T=4 c openssl s_client -dtls1_2 -connect $SERVER:4434 -psk 1a2b3c4d $o -sess_in psk; done
	cd - >/dev/null
}
mqtt() {
	printf 'listener 1883\nallow_anonymous true\n' >"$WORK/mq.conf"; s mosquitto -c "$WORK/mq.conf"; port t 1883
	T=5 c mosquitto_sub -h $SERVER -t '#' -C 4 & sleep 0.5
	for v in 31 311 5; do for q in 0 1 2; do c mosquitto_pub -V mqttv$v -q $q -h $SERVER -t a/b -m "hello $v $q"; done; done; wait $!
}
coap() {
	s coap-server-notls -A $SERVER; port u 5683
	for m in get put post delete; do for n in 1 2 3; do c coap-client-notls -m $m -B 2 -e text coap://$SERVER/$([ $n = 1 ] && echo time); done; done; c coap-client-notls -m get -N coap://$SERVER/.well-known/core
	down; s coap-server-openssl -A $SERVER -k secret; port u 5684
	for _ in 1 2 3; do T=4 c coap-client-openssl -B 2 -k secret -u me coaps://$SERVER/; done
	down; s coap-server-gnutls -A $SERVER -k secret; port u 5684; for _ in 1 2; do T=4 c coap-client-gnutls -B 2 -k secret -u me coaps://$SERVER/; done
}
smb() {
	mkdir -p "$WORK/smb" "$WORK/share"; echo data >"$WORK/share/file"; chmod -R a+rX "$WORK"
	printf '[global]\nmap to guest=bad user\nguest account=nobody\nprivate dir=%s/smb\nlock directory=%s/smb\nstate directory=%s/smb\ncache directory=%s/smb\npid directory=%s/smb\nncalrpc dir=%s/smb\nlog file=/dev/null\nserver min protocol=NT1\n[s]\npath=%s/share\nguest ok=yes\n' "$WORK" "$WORK" "$WORK" "$WORK" "$WORK" "$WORK" "$WORK" >"$WORK/smb.conf"
	s smbd -F --no-process-group -s "$WORK/smb.conf"; s nmbd -F --no-process-group -s "$WORK/smb.conf"; port t 445
	for v in NT1 SMB2 SMB3; do c smbclient -s "$WORK/smb.conf" -m $v -N //$SERVER/s -c 'ls; get file /dev/null'; done
	c smbclient -s "$WORK/smb.conf" -p 139 -N //$SERVER/s -c ls; c nmblookup -s "$WORK/smb.conf" -U $SERVER '*'; c rpcclient -s "$WORK/smb.conf" -N -U% $SERVER -c srvinfo
}
ldap() {
	mkdir -p "$WORK/ldap"; printf 'include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\ndatabase mdb\nsuffix "dc=lab"\nrootdn "cn=a,dc=lab"\nrootpw x\ndirectory %s/ldap\n' "$WORK" >"$WORK/slapd.conf"
	s slapd -d 0 -f "$WORK/slapd.conf" -h ldap://$SERVER/; port t 389
	for _ in 1 2 3 4 5; do c ldapsearch -x -H ldap://$SERVER -D cn=a,dc=lab -w x -b dc=lab; c ldapwhoami -x -H ldap://$SERVER; done
}
databases() {
	D=$WORK/pg; mkdir "$D"; chown postgres "$D"; chmod 755 "$WORK"; runuser -u postgres -- "$(command -v initdb)" -A trust --no-sync "$D" >>"$WORK/log" 2>&1; echo 'host all all all trust' >>"$D/pg_hba.conf"
	s runuser -u postgres -- "$(command -v postgres)" -D "$D" -h $SERVER -k "$D" -F; port t 5432
	for m in disable require; do for _ in 1 2; do PGSSLMODE=$m c psql -h $SERVER -U postgres -c 'select version(), generate_series(1,20)' postgres; done; done
	mkdir "$WORK/my"; mariadb-install-db --no-defaults --datadir="$WORK/my" --auth-root-authentication-method=normal --user=root >>"$WORK/log" 2>&1
	s mariadbd --no-defaults --datadir="$WORK/my" --user=root --bind-address=$SERVER --socket="$WORK/my.sock" --skip-grant-tables --port=3306 --pid-file="$WORK/my.pid" --skip-networking=0; port t 3306
	for _ in 1 2 3; do c mariadb --no-defaults -h $SERVER -u root -e 'select version(), 1+1'; done
	s redis-server --bind $SERVER --protected-mode no --save ''; port t 6379; c redis-benchmark -h $SERVER -n 400 -c 20 -q -t ping,set,get
	s memcached -u nobody -l $SERVER -U 11211; port t 11211; for o in "" "-u"; do printf 'set a 0 0 3\r\nabc\r\nget a\r\nstats\r\nquit\r\n' | T=2 c nc $o $SERVER 11211; done
}
ntp() { s chronyd -x -d -n -f /dev/stdin <<<$'local stratum 3\nallow all\nport 123\ncmdport 0\npidfile '"$WORK/chrony.pid"; sleep 1; for _ in 1 2 3 4; do c ntpdig $SERVER; c ntpdate -q $SERVER; done; T=6 c chronyd -x -d -n -Q -t 4 "server $SERVER iburst"; }
syslog() { s nc -ulk $SERVER 514; s nc -lk $SERVER 601; sleep 0.3; for i in $(seq 5); do c logger -n $SERVER -d --rfc3164 "message $i"; c logger -n $SERVER -d --rfc5424 "message $i"; c logger -n $SERVER -T -P 601 --octet-count "m $i"; done; }
bittorrent() { # peers find each other by multicast and over DHT
	local aria="aria2c --disable-ipv6 --bt-enable-lpd --bt-lpd-interface=v0 --enable-dht --bt-min-crypto-level=${CRYPTO:-plain}"
	mkdir -p "$WORK/seed" "$WORK/leech" "$WORK/t1" "$WORK/t2"; head -c 3000000 /dev/urandom >"$WORK/seed/data"; chmod -R a+rX "$WORK"
	transmission-create -o "$WORK/t.torrent" "$WORK/seed/data" >>"$WORK/log" 2>&1
	s $aria -d "$WORK/seed" -V --seed-ratio=0 --dht-file-path="$WORK/d1" --listen-port=6881 --dht-listen-port=6881 "$WORK/t.torrent"; sleep 2
	T=15 c $aria -d "$WORK/leech" --dht-file-path="$WORK/d2" --dht-entry-point=$SERVER:6881 --listen-port=6882 --dht-listen-port=6882 --seed-time=0 --max-download-limit=500K "$WORK/t.torrent"; down
	for t in t1 t2; do echo '{"lpd-enabled":true,"utp-enabled":true,"dht-enabled":true,"encryption":2}' >"$WORK/$t/settings.json"; done; rm -rf "$WORK/leech/"*
	s transmission-cli -g "$WORK/t1" -er -p 51413 -w "$WORK/seed" "$WORK/t.torrent"; sleep 3
	T=25 c transmission-cli -g "$WORK/t2" -er -p 51820 -w "$WORK/leech" "$WORK/t.torrent"
}
web() {
	key web; printf 'pid %s/nginx.pid;events{}http{access_log off;server{listen 80;listen 443 ssl http2;ssl_certificate %s/web.crt;ssl_certificate_key %s/web.key;location /{return 200 "hello\\n";}}}' "$WORK" "$WORK" "$WORK" >"$WORK/nginx.conf"
	s nginx -e /dev/null -c "$WORK/nginx.conf" -g 'daemon off;'; port t 443
	for _ in $(seq 30); do c curl -s http://$SERVER/; c curl -sk https://$SERVER/; c curl -sk --tls-max 1.2 https://$SERVER/; c curl -s --http2-prior-knowledge http://$SERVER/; done
	for p in remote/sslvpn-tunnel remote/fgt_lang ssl-vpn/login.esp ssl-tunnel-connect.sslvpn vpnsvc/connect.cgi agent.ashx CSCOSSLC/tunnel; do c curl -s -o /dev/null http://$SERVER/$p; done
}
text() {
	printf '#!/bin/sh\nwhile read l; do echo "250 ok"; done\n' >"$WORK/lines"; chmod +x "$WORK/lines"
	for p in 25 110 143 21 23 6667 5222 79 13; do s socat TCP-LISTEN:$p,fork,reuseaddr,bind=$SERVER SYSTEM:"echo 220 ready; exec $WORK/lines"; port t $p; (printf 'EHLO a\r\nMAIL FROM:<a@b>\r\nQUIT\r\n'; sleep 0.3) | T=2 c nc -N $SERVER $p; done
}
ftp_() { mkdir -p "$WORK/ftp"; head -c 9000 /dev/urandom >"$WORK/ftp/f"; chmod -R a+rX "$WORK"; printf 'listen=YES\nanonymous_enable=YES\nanon_root=%s/ftp\nlisten_address=%s\nsecure_chroot_dir=/var/run\nseccomp_sandbox=NO\n' "$WORK" $SERVER >"$WORK/v.conf"; s vsftpd "$WORK/v.conf"; port t 21; for _ in 1 2 3; do c curl -s ftp://$SERVER/f -o /dev/null; c curl -s -P - ftp://$SERVER/ -o /dev/null; done; }
irc() { printf '[Global]\nName=irc.lab\nInfo=x\nListen=%s\n[Options]\nPAM=no\nIdent=no\nDNS=no\n' $SERVER >"$WORK/irc.conf"; s ngircd -n -f "$WORK/irc.conf"; port t 6667; for i in 1 2 3; do (printf 'NICK a%d\r\nUSER a 0 * :a\r\nJOIN #x\r\n' $i; sleep 1; printf 'PRIVMSG #x :hello\r\nQUIT\r\n'; sleep 0.3) | T=4 c nc $SERVER 6667; done; }
git_() { git init -q --bare "$WORK/r.git"; git -C "$WORK" clone -q r.git w 2>/dev/null; (cd "$WORK/w" && head -c 5000 /dev/urandom >f && git add f && git -c user.name=a -c user.email=a@b commit -qm x && git push -q origin HEAD); s git daemon --reuseaddr --export-all --base-path="$WORK" --listen=$SERVER; port t 9418; for i in 1 2 3; do c git clone -q git://$SERVER/r.git "$WORK/g$i"; done; }
rsync_() { mkdir "$WORK/rs"; head -c 9000 /dev/urandom >"$WORK/rs/f"; printf 'use chroot=no\n[m]\npath=%s/rs\n' "$WORK" >"$WORK/rsyncd.conf"; s rsync --daemon --no-detach --config="$WORK/rsyncd.conf" --address=$SERVER; port t 873; for i in 1 2 3; do c rsync -a rsync://$SERVER/m/ "$WORK/rs$i"; done; }
dns() { s dnsmasq -k -C /dev/null --no-resolv --address=/lab/192.0.2.7 --listen-address=$SERVER --bind-interfaces -u root --pid-file="$WORK/dnsmasq.pid"; port u 53; for i in $(seq 60); do c dig +tries=1 +time=1 @$SERVER a$i.lab; done; c dig +tcp @$SERVER tcp.lab; c dig +tries=1 +time=1 -p 5353 @224.0.0.251 _http._tcp.local PTR; }
tunnels() { # no category of ours: what they are is not said
	printf '{"server":"%s","server_port":8388,"password":"x","method":"chacha20-ietf-poly1305","mode":"tcp_and_udp"}' $SERVER >"$WORK/ss.json"; s ss-server -c "$WORK/ss.json"; s nc -lk $SERVER 8000; port t 8388
	ip netns exec $C timeout 8 ss-tunnel -s $SERVER -p 8388 -k x -m chacha20-ietf-poly1305 -u -l 9000 -L $SERVER:8000 >>"$WORK/log" 2>&1 & sleep 1; for _ in $(seq 10); do head -c 900 /dev/urandom | T=2 c nc -N -w 1 127.0.0.1 9000; head -c 300 /dev/urandom | T=1 c nc -u -w 1 127.0.0.1 9000; done; wait $!
	s ptunnel; sleep 0.5; ip netns exec $C timeout 6 ptunnel -p $SERVER -lp 9001 -da $SERVER -dp 8000 >>"$WORK/log" 2>&1 & sleep 1; head -c 3000 /dev/urandom | T=3 c nc -N -w 2 127.0.0.1 9001; wait $!
}
random() { # bytes without meaning on ports that tunnels use
	for p in 500 4500 1194 51820 1701 443 3389 5900 9993 41641 655 4242 5938 7070 21116 1723 1080 22 17771 5004 500 7777 8041 4000; do
		s nc -ulk $SERVER $p; s nc -lk $SERVER $p; sleep 0.05
		for n in 1 14 54 92 148 300 1232; do head -c $n /dev/urandom | T=1 c socat -u - UDP:$SERVER:$p; head -c $n /dev/zero | T=1 c socat -u - UDP:$SERVER:$p; head -c $n /dev/urandom | T=1 c nc -N -w 1 $SERVER $p; done; down
	done
}
quic() { [ -n "${PEERS:-}" ] || return; for p in 443 4500 3389; do s "$PEERS" h3server $SERVER:$p; sleep 0.7; c "$PEERS" h3client $SERVER:$p; done; }
http2() { [ -n "${PEERS:-}" ] || return; s "$PEERS" h2server $SERVER:443; port t 443; c "$PEERS" h2client $SERVER:443; }
webrtc() { [ -n "${PEERS:-}" ] || return; s "$PEERS" rtcserver $SERVER:8080; port t 8080; T=60 c "$PEERS" rtcclient $SERVER:8080; }

sections=("$@"); [ $# -gt 0 ] || sections=(snmp radius kerberos tftp_ sip rtp turn dtls mqtt coap smb ldap databases ntp syslog bittorrent web text ftp_ irc git_ rsync_ dns tunnels quic http2 webrtc random)
for section in "${sections[@]}"; do
	ip netns exec $S tcpdump -q -i v0 -s "${SNAP:-0}" --immediate-mode -U -w "$OUT/${section%_}.pcap" 2>/dev/null & dump=$!
	sleep 0.4; $section; sleep 0.3; down; kill $dump; wait $dump 2>/dev/null
	echo "$section $(stat -c %s "$OUT/${section%_}.pcap")"
done
[ -n "${KEEPLOG:-}" ] && cp "$WORK/log" "$KEEPLOG"
exit 0
