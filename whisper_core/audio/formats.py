"""Which of ffmpeg's formats are read. What is refused is the exception, and each kind of it has its reason here.

Names of demuxers. A test compares both lists with the installed ffmpeg's, so a new format needs a decision. ffmpeg has
a demuxer for each kind of image, too, named `…_pipe`: all of them are refused.
"""

from __future__ import annotations

_TAKEN = """
3dostr 4xm aa aac aax ac3 ace acm act adp ads adx aea afc aiff aix alp amr amrnb amrwb apac apc ape apm aptx aptx_hd
argo_asf asf ast au avi avr bethsoftvid bfi bfstm bink binka bit bmv boa bonk brstm c93 caf cdxl cine codec2 daud
dcstr derf dfa dfpwm dhav dsf dsicin dss dts dtshd dv dxa ea ea_cdata eac3 epaf film_cpk flac flic flv fsb fwse g722
g723_1 g729 gdv genh gsm gxf hca hcom hnm hxvs iamf idcin iff ifv ilbc ipmovie ircam iss iv8 ivf ivr jv kux kvag laf
lc3 live_flv lmlm4 loas luodat lvf lxf matroska mca mgsts mlp mm mmf mods moflex mov mp3 mpc mpc8 mpeg mpegts
mpegtsraw msf msnwctcp mtaf mtv musx mv mvi mxf mxg nc nistsphere nsp nsv nut nuv ogg oma osq paf pmp pp_bnk psxstr
pva pvf qcp qoa r3d redspark rka rl2 rm roq rpl rsd rso s337m sbc scd sdns sdr2 sds sdx sga shn siff sln smjpeg smk
smush sol sox spdif svag svs swf tak thp tiertexseq tmv truehd tta ty usm vag vividas vivo vmd voc vpk vqf w64 wady
wav wavarc wc3movie webm wsaud wsd wsvqa wtv wv wve xa xmd xmv xvag xwma yop
"""
# Playlists and descriptions of streams name other files or hosts, or open them.
_PLAYLISTS = """
alias_pix avisynth concat dash dvdvideo hls image2 image2pipe imf mlv rtp rtsp sap sdp simbiosis_imx vobsub
webm_dash_manifest
"""
# Scripts and music for synthesizers are programs, of whatever length.
_SCRIPTS = """
libgme libopenmpt sbg tty
"""
# Images, and pictures that move without sound.
_PICTURES = """
adf anm apng apv argo_brp argo_cvg av1 avs avs2 avs3 bin cavsvideo cdg dirac dnxhd evc filmstrip fits frm gif h261
h263 h264 hevc ico idf ingenient ipu jpegxl_anim m4v mjpeg mjpeg_2000 mpegvideo mpjpeg obu pdv ser txd vc1 vc1test vvc
webp_anim xbin yuv4mpegpipe
"""
_TEXTS = """
aqtitle ass dvbsub dvbtxt ffmetadata jacosub lrc mcc microdvd mpl2 mpsub pjs rcwt realtext sami scc srt stl subviewer
subviewer1 sup tedcaptions vplayer webvtt
"""
# What has no start by which it could be recognised, such as raw samples, or no decoder.
_SHAPELESS = """
ac4 alaw asf_o bitpacked brender_pix codec2raw data f32be f32le f64be f64le g726 g726le g728 msp mulaw rawvideo
s16be s16le s24be s24le s32be s32le s8 u16be u16le u24be u24le u32be u32le u8 v210 v210x vidc
"""

TAKEN = tuple(_TAKEN.split())
REFUSED = tuple("".join((_PLAYLISTS, _SCRIPTS, _PICTURES, _TEXTS, _SHAPELESS)).split())
WHITELIST = ",".join(TAKEN)
