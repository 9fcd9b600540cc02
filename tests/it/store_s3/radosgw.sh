#!/bin/bash
# A Ceph with one disk and its S3 gateway, on loopback, in DIR, until standard input ends.
# Usage: radosgw.sh DIR MON_PORT MON_V1_PORT S3_PORT [DISK_BYTES]. Says "ready" once the bucket "audit" is there; keys AK / SKSKSKSK.
set -e
dir=$1
mkdir -p "$dir"/{mon,osd0,mgr,rgw,out}
cd "$dir"
pids=()
end() {
    [ ${#pids[@]} -gt 0 ] && kill -9 "${pids[@]}" 2>/dev/null
    cd /
    rm -rf "$dir"
}
trap end EXIT
fsid=$(cat /proc/sys/kernel/random/uuid)
cat >ceph.conf <<E
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$2,v1:127.0.0.1:$3]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
ms bind ipv4 = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail crit = 1
auth allow insecure global id reclaim = false
run dir = $dir/out
admin socket = $dir/out/\$name.asok
log file = $dir/out/\$name.log
pid file = $dir/out/\$name.pid
keyring = $dir/keyring
[mon.a]
mon data = $dir/mon
[mgr.x]
mgr data = $dir/mgr
[osd.0]
osd data = $dir/osd0
osd objectstore = bluestore
bluestore block size = ${5:-4294967296}
bluestore block create = true
osd memory target = 939524096
osd class load list = *
osd class default list = *
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:$4
rgw data = $dir/rgw
rgw enable usage log = false
E
exec 3>out/start.log
{
    ceph-authtool --create-keyring keyring --gen-key -n mon. --cap mon 'allow *'
    key="ceph-authtool keyring --gen-key"
    $key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' --cap mds 'allow *'
    $key -n mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *' --cap mds 'allow *'
    $key -n osd.0 --cap mon 'allow profile osd' --cap mgr 'allow profile osd' --cap osd 'allow *'
    $key -n client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx' --cap mgr 'allow rw'
    monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$2,v1:127.0.0.1:$3]" monmap
    timeout 60 ceph-mon -c ceph.conf --mkfs -i a --monmap monmap --keyring keyring
    ceph-mon -c ceph.conf -i a -f &
    pids+=($!)
    ceph-mgr -c ceph.conf -i x -f &
    pids+=($!)
    uuid=$(cat /proc/sys/kernel/random/uuid)
    timeout 120 ceph -c ceph.conf osd new "$uuid" 0
    timeout 120 ceph-osd -c ceph.conf -i 0 --mkfs --osd-uuid "$uuid"
    ceph-osd -c ceph.conf -i 0 -f &
    pids+=($!)
    radosgw -c ceph.conf -n client.rgw.a -f &
    pids+=($!)
    for _ in $(seq 1 300); do
        curl -s -o /dev/null "http://127.0.0.1:$4/" && break
        sleep 1
    done
    timeout 300 radosgw-admin -c ceph.conf -n client.rgw.a user create --uid=audit --display-name=audit \
        --access-key=AK --secret-key=SKSKSKSK
    now=$(date -uR)
    signature=$(printf 'PUT\n\n\n%s\n/audit' "$now" | openssl dgst -sha1 -hmac SKSKSKSK -binary | base64)
    curl -sf -X PUT -H "Date: $now" -H "Authorization: AWS AK:$signature" "http://127.0.0.1:$4/audit"
} >&3 2>&3 </dev/null
echo ready
cat >/dev/null
