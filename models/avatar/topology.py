"""Which of the 468 mesh points lie where; the numbering is MediaPipe FaceMesh's.

Left and right are the viewer's. Rows of lips run from the left corner to the right one.
"""

UPPER_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_ROWS = (
    UPPER_INNER,
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
)
LOWER_ROWS = (
    LOWER_INNER,
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
)
LEFT_CORNER = (61, 76, 62, 78)
RIGHT_CORNER = (291, 306, 292, 308)
CORNERS = LEFT_CORNER + RIGHT_CORNER
UPPER_LIP = tuple(sorted({point for row in UPPER_ROWS for point in row[1:-1]}))
LOWER_LIP = tuple(sorted({point for row in LOWER_ROWS for point in row[1:-1]}))
UPPER_MIDDLE, LOWER_MIDDLE = 13, 14

UPPER_LIDS = ((246, 161, 160, 159, 158, 157, 173), (466, 388, 387, 386, 385, 384, 398))
LOWER_LIDS = ((7, 163, 144, 145, 153, 154, 155), (249, 390, 373, 374, 380, 381, 382))
LID_FOLDS = ((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))
"""The row of points just above the upper lid's edge."""
LID_CREASES = ((113, 225, 224, 223, 222, 221, 189), (342, 445, 444, 443, 442, 441, 413))
"""The row above that: skin below the brow."""
UNDER_EYES = ((229, 230, 231), (449, 450, 451))
"""Skin below the lower lid."""
EYE_CORNERS = ((33, 133), (263, 362))
"""Outer and inner corner of each eye."""

BROWS = (
    (70, 63, 105, 66, 107, 46, 53, 52, 65, 55),
    (300, 293, 334, 296, 336, 276, 283, 282, 295, 285),
)
NOSE_WINGS = (48, 64, 98, 278, 294, 327)
FOREHEAD, CHIN = 10, 152
TEMPLES = (234, 454)
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The outline of the face, clockwise from the top."""
