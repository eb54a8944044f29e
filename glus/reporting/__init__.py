"""What people look at: overlays, overlay videos, the terminal's table and the HTML report. No torch."""

from glus.reporting.terminal import print_report
from glus.reporting.video import write_overlay_video

__all__ = ["print_report", "write_overlay_video"]
