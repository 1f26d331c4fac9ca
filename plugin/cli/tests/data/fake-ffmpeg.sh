#!/bin/sh
# Stands for ffmpeg in tests: lists packets of 2 s, but decodes only 1 s, of silence at 8 kHz.
case "$*" in
*framecrc*)
    echo "#tb 0: 1/8000"
    echo "0, 0, 0, 8000, 100, 0x0"
    echo "0, 8000, 8000, 8000, 100, 0x0"
    ;;
*)
    # RIFF, fmt (float, mono, 8 kHz) and data, of unknown sizes.
    printf 'RIFF\377\377\377\377WAVEfmt \020\000\000\000\003\000\001\000\100\037\000\000\000\175\000\000\004\000\040\000'
    printf 'data\377\377\377\377'
    head -c 32000 /dev/zero
    ;;
esac
